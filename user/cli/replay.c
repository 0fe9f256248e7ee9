/* wftrace replay: a capture file through the same line, without privileges. */
#include "cli/session.h"

static int replay_main(struct options *o)
{
    char err[1024] = "";
    enum agent_failure about = AGENT_CONFIG;
    struct agent *a = NULL;
    int read = session_read(o);
    if (read)
        return read;
    if (config_off(o->config)) {
        if (!o->quiet)
            complain("disabled by the configuration: nothing is replayed");
        return EXIT_FINE;
    }
    if (session_prepare(o, err, sizeof(err)) || agent_replay(&o->agent, o->rest[0], &a, &about, err, sizeof(err))) {
        complain("%s: %s", o->rest[0], err);
        return exit_of(about);
    }
    struct agent_summary s = { 0 };
    agent_summary_of(a, &s);
    int code = session_close(o, a);
    if (s.corrupt)
        complain("%s is damaged; everything before the damage was replayed", o->rest[0]);
    else if (s.truncated)
        complain("%s was cut short; everything before the cut was replayed", o->rest[0]);
    return s.corrupt ? EXIT_RUNTIME : code;
}

const struct command command_replay = {
    .name = "replay",
    .usage = "FILE.wfcap [options]",
    .summary = "the spans of a capture file once more, without privileges",
    .more = "The file is made with --capture; it holds the rules, the service name and the seed of the ids, so the same spans\n"
            "come out. A file that was cut short is replayed up to the cut. `-` is standard input.",
    .takes = TAKES_EXPORT | TAKES_JSON,
    .min_rest = 1,
    .max_rest = 1,
    .rest_name = "the capture file",
    .run = replay_main,
};
