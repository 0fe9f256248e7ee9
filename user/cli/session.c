/* From options to a live session and back: what run, attach and replay have in common. */
#include "cli/session.h"
#include "base/log.h"
#include "self/ledger.h"
#include "trace/tracer.h"

#include <signal.h>
#include <unistd.h>

#define FLUSH_MS 5000

struct session_signals session_signal;

static void on_signal(int number, siginfo_t *info, void *context)
{
    UNUSED(context);
    if (number == SIGHUP && session_signal.reloads && info->si_code != SI_KERNEL) {
        session_signal.reload = 1;
        return;
    }
    session_signal.from_terminal = info->si_code == SI_KERNEL;
    session_signal.stop = number;
}

static void on_child(int number) { UNUSED(number); }

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

void session_signals_catch(void)
{
    struct sigaction stop = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++) {
        struct sigaction old;
        if (sigaction(stop_signals[i], NULL, &old) || old.sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(stop_signals[i], &stop, NULL);
    }
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = on_child }, NULL); /* wakes the reader */
    signal(SIGPIPE, SIG_IGN);
}

static void on_reload(int number) { session_signal.reload = number; }

void session_signals_reload(void) { sigaction(SIGHUP, &(struct sigaction){ .sa_handler = on_reload }, NULL); }

void session_signals_default(void)
{
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        signal(stop_signals[i], SIG_DFL);
}

static bool wants_color(const struct options *o)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !o->no_color && !(no && *no) && isatty(STDERR_FILENO) && !(term && !strcmp(term, "dumb"));
}

static void take_environment(struct agent_options *a)
{
    const char *parent = getenv("TRACEPARENT"), *state = getenv("TRACESTATE");
    if (!parent || !*parent)
        return;
    if (traceparent_parse(slice_str(parent), &a->root))
        log_warn("context", "TRACEPARENT in the environment is not valid (ignored)");
    else
        a->root_state = state;
}

int session_read(struct options *o)
{
    char err[8300] = "";
    if (!o->config && session_config(o, err, sizeof(err))) {
        fprintf(stderr, "%s\n", err);
        return EXIT_USAGE;
    }
    return EXIT_FINE;
}

/* Spans are shown when nobody said where anything should go; «none» is said. */
static bool wants_console(const struct options *o)
{
    const struct config *c = o->config;
    const char *traces = getenv("OTEL_TRACES_EXPORTER");
    return !o->agent.n_exports && !c->tracer_provider && !c->meter_provider && !c->logger_provider &&
           (o->n_config_files || !traces || !*traces);
}

/* --plugin: behind the processors of the configuration, before the redaction. */
static int take_plugins(struct options *o, char *err, size_t err_size)
{
    struct pipeline_options *p = &o->agent.pipeline;
    struct processor_spec *all = o->n_plugins ? config_keep(o->config, PROCESSORS_MAX * sizeof(*all)) : NULL;
    if (!o->n_plugins)
        return 0;
    if (!all) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    if (p->n_processors + o->n_plugins > PROCESSORS_MAX) {
        snprintf(err, err_size, "more than %d processors", PROCESSORS_MAX);
        return -EINVAL;
    }
    if (p->n_processors)
        memcpy(all, p->processors, p->n_processors * sizeof(all[0]));
    memcpy(all + p->n_processors, o->plugins, o->n_plugins * sizeof(all[0]));
    p->processors = all;
    p->n_processors += o->n_plugins;
    return 0;
}

/* Two pages on one address would answer in turn. */
static int pages_apart(const struct agent_options *a, char *err, size_t err_size)
{
    for (size_t i = 0; i < a->n_exports; i++)
        for (size_t k = 0; k < i; k++) {
            const struct export_spec *x = &a->exports[i], *y = &a->exports[k];
            size_t n = strcspn(x->target, "?");
            if (strcmp(x->kind, "prometheus") || strcmp(y->kind, x->kind) || n != strcspn(y->target, "?") ||
                memcmp(x->target, y->target, n) || !strcmp(x->target + (n > 2 ? n - 2 : 0), ":0"))
                continue;
            snprintf(err, err_size, "two scrape ports on %.*s: give one of them another address", (int)min_u64(n, 200),
                     x->target);
            return -EINVAL;
        }
    return 0;
}

static int default_exporters(struct options *o, char *err, size_t err_size)
{
    struct agent_options *a = &o->agent;
    if (wants_console(o) &&
        export_spec_parse(o->json ? "console:json" : "console", SIGNAL_TRACES, &a->exports[a->n_exports++], err, err_size))
        return -EINVAL;
    for (size_t i = 0; i < a->n_exports; i++)
        a->exports[i].color = wants_color(o);
    return pages_apart(a, err, err_size);
}

/* o->given and o->config → o->agent. */
static int settle(struct options *o, char *err, size_t err_size)
{
    o->agent = o->given;
    o->agent.flush_ms = FLUSH_MS;
    int code = session_apply(o, err, err_size);
    if (!code)
        code = take_plugins(o, err, err_size);
    if (!code)
        code = default_exporters(o, err, err_size);
    return code;
}

static void settings_free(struct options *o)
{
    o->resource = resource_unref(o->resource);
    o->config = config_free(o->config);
}

static int reload(struct options *o, struct agent *a, int (*fits)(const struct config *c, char *err, size_t err_size),
                  char *restart, size_t restart_size, char *err, size_t err_size)
{
    static struct options next; /* large */
    char keys[1024];
    next = *o;
    next.config = NULL;
    next.resource = NULL;
    int code = session_config(&next, err, err_size);
    if (!code && fits)
        code = fits(next.config, err, err_size);
    if (!code)
        code = settle(&next, err, err_size);
    bool same = !code && config_same(o->config, next.config, "resource");
    if (!code)
        code = agent_reload(a, &next.agent, same, restart, restart_size, err, err_size);
    if (code) {
        settings_free(&next);
        return code;
    }
    if (config_restarts(o->config, next.config, keys, sizeof(keys)))
        snprintf(restart + strlen(restart), restart_size - strlen(restart), "%s%s", *restart ? ", " : "", keys);
    settings_free(o); /* nobody borrows from it any more */
    *o = next;
    session_log_level(o);
    return 0;
}

bool session_reload(struct options *o, struct agent *a, int (*fits)(const struct config *c, char *err, size_t err_size))
{
    static char err[8300];
    char restart[1400] = "";
    if (!session_signal.reload)
        return false;
    session_signal.reload = 0;
    *err = 0;
    if (reload(o, a, fits, restart, sizeof(restart), err, sizeof(err))) {
        for (char *line = err, *next; line; line = next) { /* each mistake is one */
            next = strchr(line, '\n');
            if (next)
                *next++ = 0;
            log_error("config", "reload: %s%s", line, next ? "" : " (the old configuration stays in force)");
        }
        return false;
    }
    if (*restart)
        log_warn("config", "needs a restart to take effect: %s", restart);
    if (!o->quiet)
        complain("configuration read again: %zu exporter%s", o->agent.n_exports, o->agent.n_exports == 1 ? "" : "s");
    return true;
}

int session_prepare(struct options *o, char *err, size_t err_size)
{
    take_environment(&o->agent);
    o->given = o->agent;
    if (!o->config && session_config(o, err, err_size))
        return -EINVAL;
    session_log_level(o);
    if (session_prices(o->config, err, err_size))
        return -EINVAL;
    return settle(o, err, err_size) ? -EINVAL : 0;
}

int session_open(struct options *o, struct agent **ret)
{
    char err[1024] = "";
    enum agent_failure about = AGENT_CONFIG;
    if (!session_prepare(o, err, sizeof(err)) && !agent_open(&o->agent, ret, &about, err, sizeof(err)))
        return EXIT_FINE;
    complain("%s", err);
    if (about == AGENT_PRIVILEGE)
        fprintf(stderr, "wftrace doctor says what this machine allows\n");
    return exit_of(about);
}

static void print_places(const struct options *o)
{
    for (size_t i = 0; i < o->agent.n_exports; i++) {
        const struct export_spec *e = &o->agent.exports[i];
        if (e->signal == SIGNAL_TRACES && (strncmp(e->kind, "console", 7) || *e->target))
            fprintf(stderr, " → %s", *e->target ? e->target : e->kind);
    }
}

static const char *plural(u64 n) { return n == 1 ? "" : "s"; }

static void print_summary(const struct options *o, const struct agent_summary *s)
{
    fprintf(stderr, "wftrace: %llu span%s, %llu error%s", (unsigned long long)s->spans, plural(s->spans),
            (unsigned long long)s->errors, plural(s->errors));
    fprintf(stderr, ", %llu lost", (unsigned long long)s->lost_records);
    if (s->missed) /* of whom is not known */
        fprintf(stderr, ", up to %llu left out by the kernel", (unsigned long long)s->missed);
    if (s->undelivered)
        fprintf(stderr, ", %llu not delivered", (unsigned long long)s->undelivered);
    print_places(o);
    if (o->agent.capture && !s->capture_err)
        fprintf(stderr, " · %llu records in %s", (unsigned long long)s->captured, o->agent.capture);
    fputc('\n', stderr);
}

/* -v: the ledger, every count that is not zero. */
static void print_ledger(void)
{
    for (size_t i = 0; i < LEDGER_MAX; i++)
        if (ledger_count_[i])
            log_info(ledger_rows[i].stage, "%s=%llu (%s)", ledger_rows[i].name, (unsigned long long)ledger_count_[i],
                     ledger_rows[i].help);
}

int session_close(const struct options *o, struct agent *a)
{
    struct agent_summary s = { 0 };
    session_signals_default();
    agent_close(a, &s);
    if (s.capture_err)
        complain("%s is not whole: %s", o->agent.capture, errno_name(s.capture_err));
    print_ledger();
    if (!o->quiet)
        print_summary(o, &s);
    return s.capture_err ? EXIT_RUNTIME : EXIT_FINE;
}
