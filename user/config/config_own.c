/* The keys under `wftrace`: what OpenTelemetry's form has no word for. */
#include "config/config_table.h"

/* --- wftrace --- */
static void target_check(struct config_state *s, void *group, const struct config_node *at)
{
    UNUSED(group);
    if (!at->n)
        config_mistake(s, &at->at, "an empty target would mean every process: name, exe, port, cgroup, container or unit");
}
static const struct config_key target_keys[] = {
    TEXT(target, name, "name", NULL, "program or script, with `*` and `?`", OURS),
    TEXT(target, exe, "exe", NULL, "path of the executable, with `*` and `?`", OURS),
    INT(target, port, "port", 1, 65535, NULL, "TCP port it listens on", OURS),
    TEXT(target, cgroup, "cgroup", NULL, "control group, with all below it", OURS),
    TEXT(target, container, "container", NULL, "beginning of a container's id", OURS),
    TEXT(target, unit, "unit", NULL, "systemd unit", OURS),
};
DEFINE(target, target, "a target", "Processes for which all that is given holds.", .check = target_check);
static const struct config_key targets_keys[] = {
    GROUPS(targets, include, "include", target, "what is traced", OURS),
    GROUPS(targets, exclude, "exclude", target, "what is not, whatever `include` says", OURS),
};
DEFINE(targets, targets, "targets", "What the agent traces.");
static const struct config_key rules_keys[] = {
    TEXTS(rules, files, "files", "rule files ([rules.md](rules.md)); relative to the directory wftrace is started in", OURS),
    { .name = "activities",
      .type = CONFIG_PART,
      AT(rules, activities),
      OURS,
      .help = "rules written here, as in a rule file; `${…}` is not replaced in them" },
    { .name = "packs",
      .type = CONFIG_PART,
      AT(rules, packs),
      OURS,
      .help = "which built-in packs are used and how, as in a rule file" },
};
DEFINE(rules, rules, "rules", "Functions, probes and commands to watch.");
#define LATER "not in this version"
static const struct config_key store_keys[] = {
    TEXT(store, file, "file", NULL, "SQLite file", OURS,
         .unset = "`$XDG_STATE_HOME/wftrace/store.db`, `~/.local/state/wftrace/store.db`"),
    SIZE(store, max_size, "max_size", 1 << 20, "1GiB", "size at which the oldest traces go", OURS),
    TIME(store, max_age, "max_age", 1, "7d", "age at which they go", OURS),
};
DEFINE(store, store, "store", "The embedded store.");
static const char *const fsyncs[] = { "never", "segment", "always", NULL };
static const struct config_key spool_keys[] = {
    TEXT(spool, dir, "dir", NULL, "directory; one below it for each exporter", .flags = KEY_OURS | KEY_REQUIRED),
    SIZE(spool, max_size, "max_size", 1 << 20, "256MB", "bytes of each exporter's spool", OURS),
    TIME(spool, max_age, "max_age", 1, "24h", "what is older is dropped and counted", OURS),
    WORD(spool, fsync, "fsync", fsyncs, "segment", "when the disk is waited for", OURS),
};
DEFINE(spool, spool, "spool", "What an exporter could not deliver yet, on disk.");
static const struct config_key logs_keys[] = {
    BOOL(logs, stdio, "stdio", "false", "what traced processes write to standard output and error", OURS),
    TEXTS(logs, files, "files", "log files that traced processes write, by path with `*` and `?`", OURS),
    WORD(logs, level, "level", config_severities, "trace", "what is below it is left out", OURS),
    INT(logs, rate, "rate", 1, 1e9, "1000", "lines a second and process; what is above is dropped and counted", OURS),
};
DEFINE(logs, logs, "logs", "Log lines of traced processes as log records.");
static const struct config_key activities_keys[] = {
    TIME(activities, running_after, "running_after", 1000, NULL,
         "open for this long: told, and again each time as much has passed", OURS, .unset = "never"),
    TIME(activities, stuck_after, "stuck_after", 1000, NULL,
         "nothing begins or ends beneath it for so long: marked `wftrace.activity.stuck`, and told", OURS, .unset = "never"),
    BOOL(activities, log, "log", "true", "tells it in log records, to the exporters that take logs", OURS),
};
DEFINE(activities, activities, "activities", "Activities that run for long.");
static const struct config_key llm_keys[] = {
    INT(llm, chunk_events, "chunk_events", 0, 1000, "0",
        "pieces of a streamed answer that become events of the call's span, at most; counted and timed they are always", OURS),
    TEXT(llm, prices, "prices", NULL, "file with what tokens cost, in place of the built-in list ([llm.md](llm.md#prices))",
         .flags = KEY_OURS | KEY_RESTART, .unset = "the built-in list"),
};
DEFINE(llm, llm, "llm", "Calls of language models ([llm.md](llm.md)).");
static void self_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_self *self = group;
    const struct config_node *n = self->listen ? config_node_get(at, "listen") : NULL;
    const char *colon = n ? strrchr(self->listen, ':') : NULL;
    u64 port;
    if (n && (!colon || slice_u64(slice_str(colon + 1), &port) || !port || port > 65535))
        config_mistake(s, &n->at, "«listen» is HOST:PORT, as 127.0.0.1:9465");
}
static const struct config_key self_keys[] = {
    TEXT(self, listen, "listen", NULL, "HOST:PORT of `/metrics`, `/healthz`, `/readyz`", OURS, .unset = "no port"),
};
DEFINE(self, self, "self", "wftrace's own telemetry.", .check = self_check);
static const char *const privacies[] = { "strict", "off", NULL };
static const char *const propagations[] = { "off", "http", "all", NULL };
static const struct config_key wftrace_keys[] = {
    BOOL(wftrace, enabled, "enabled", "true", "false: nothing is attached, as with `disabled: true`",
         .flags = KEY_OURS | KEY_RESTART),
    GROUP(wftrace, rules, "rules", rules, "what to watch", OURS),
    GROUP(wftrace, targets, "targets", targets, "what `wftrace agent` traces", OURS),
    TEXT(wftrace, bridge_folder, "bridge_folder", NULL,
         "folder that `wftrace agent` fills with the helper for Pythons and what it shall watch ([agent](guides/agent.md))",
         .flags = KEY_OURS | KEY_RESTART, .unset = "none; the agent uses no packs then"),
    WORD(wftrace, privacy, "privacy", privacies, "strict", "`off`: statements and values are kept as they are", OURS),
    WORD(wftrace, propagation, "propagation", propagations, "off", "where context is written", OURS,
         .ignored = "nothing is written into a request yet"),
    TEXTS(wftrace, baggage, "baggage",
          "keys of a request's `baggage` header that become attributes of its span and of those below it, as `user.id`", OURS,
          .unset = "none"),
    GROUP(wftrace, store, "store", store, "the embedded store", OURS),
    GROUP(wftrace, spool, "spool", spool, "what could not be delivered yet, on disk", .flags = KEY_OURS | KEY_RESTART),
    SIZE(wftrace, memory_limit, "memory_limit", 48 << 20, NULL, "memory of the whole of wftrace ([memory.md](memory.md))",
         .flags = KEY_OURS | KEY_RESTART, .unset = "1 GiB, or three quarters of what its control group may have"),
    TIME(wftrace, shutdown_timeout, "shutdown_timeout", 1, "5s", "how long exporters may take at the end", OURS),
    GROUP(wftrace, logs, "logs", logs, "log lines of traced processes", OURS),
    GROUP(wftrace, activities, "activities", activities, "activities that run for long", OURS),
    GROUP(wftrace, llm, "llm", llm, "calls of language models", OURS),
    GROUPS(wftrace, processors, "processors", stage, "what happens to each item, in this order", OURS,
           .unset = "`redact` with its presets, unless privacy is off"),
    GROUP(wftrace, sampling, "sampling", sampling, "by service and name; and by what a trace turned out to be", OURS),
    GROUP(wftrace, self, "self", self, "wftrace's own telemetry", OURS),
};
SHARED(wftrace, wftrace, "wftrace", "What is wftrace's own.");
