/* wftrace show-traces: a line for each trace in the store that fits, newest last. */
#include "cli/show.h"
#include "export/tree.h"

#include <unistd.h>

struct show_list {
    struct store_trace *v;
    size_t n, room;
    bool failed;
};

struct store *show_open(const struct options *o, int *ret_exit)
{
    struct store *s = NULL;
    char err[1600] = "";
    struct store_options so = { .path = o->store, .read_only = true };
    int code = store_open(&so, &s, err, sizeof(err));
    if (code)
        complain("%s", err);
    *ret_exit = code ? EXIT_RUNTIME : EXIT_FINE;
    return s;
}

int show_failed(struct store *s, int code)
{
    complain("reading the store: %s (%s)%s", store_why(s), errno_name(code),
             code == -EBADMSG ? "; it is damaged: move it away, or save what is left with sqlite3's .recover" : "");
    return EXIT_RUNTIME;
}

static bool list_add(void *arg, const struct store_trace *t)
{
    struct show_list *l = arg;
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        struct store_trace *v = realloc(l->v, room * sizeof(*v));
        if (!v) {
            l->failed = true;
            return false;
        }
        l->v = v;
        l->room = room;
    }
    l->v[l->n] = *t;
    l->v[l->n].name = strdup(t->name);
    l->v[l->n].service = strdup(t->service);
    l->failed = !l->v[l->n].name || !l->v[l->n].service;
    l->n++;
    return !l->failed;
}

static void list_done(struct show_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free((char *)(uintptr_t)l->v[i].name);
        free((char *)(uintptr_t)l->v[i].service);
    }
    free(l->v);
}

static void print_json(const struct store_trace *t)
{
    char id[2 * TRACE_ID_LEN + 1];
    hex_encode(t->trace_id, TRACE_ID_LEN, id);
    printf("{\"trace_id\":\"%s\",\"start\":%llu,\"duration\":%llu,\"spans\":%llu,\"errors\":%llu,\"service\":", id,
           (unsigned long long)t->start_ns, (unsigned long long)(t->end_ns - t->start_ns), (unsigned long long)t->spans,
           (unsigned long long)t->errors);
    json_print(stdout, t->service);
    printf(",\"name\":");
    json_print(stdout, t->name);
    puts("}");
}

static void print_row(const struct store_trace *t, int width)
{
    char id[2 * TRACE_ID_LEN + 1], at[16], took[32];
    hex_encode(t->trace_id, TRACE_ID_LEN, id);
    wall_text(t->start_ns, at, sizeof(at));
    duration_text(t->end_ns - t->start_ns, took, sizeof(took));
    printf("%.12s  %.8s  %9s  %5llu  %4llu  ", id, at, took, (unsigned long long)t->spans, (unsigned long long)t->errors);
    print_cell(stdout, t->service, 14);
    printf("  ");
    print_cell(stdout, t->name, width - 67 > 12 ? -(width - 67) : -12);
    putchar('\n');
}

static int show_traces_main(struct options *o)
{
    int exit_status;
    struct show_list l = { 0 };
    struct store *s = show_open(o, &exit_status);
    if (!s)
        return exit_status;
    if (o->since_ago_ns)
        o->query.since_ns = clock_wall_ns() - o->since_ago_ns;
    if (!o->query.last && !o->query.since_ns)
        o->query.last = 20;
    int code = store_each_trace(s, &o->query, list_add, &l);
    if (code || l.failed) {
        exit_status = show_failed(s, code ? code : -ENOMEM);
    } else if (o->json) {
        for (size_t i = l.n; i--;)
            print_json(&l.v[i]);
    } else if (l.n) {
        puts("trace         began      duration  spans  fail  service         name");
        for (size_t i = l.n; i--;)
            print_row(&l.v[i], terminal_width(STDOUT_FILENO));
    } else {
        fprintf(stderr, "no such trace in the store\n");
    }
    list_done(&l);
    store_close(s);
    return exit_status;
}

const struct command command_show_traces = {
    .name = "show-traces",
    .usage = "[--last N] [--errors] [--service S] [--name GLOB] [--since 1h] [--min-duration D] [--attr K=V]",
    .summary = "traces in the embedded store",
    .more = "One line a trace, newest last; the 20 newest unless --last or --since says otherwise. The store is written with\n"
            "--export store; show-trace with the first digits of an id draws one.",
    .takes = TAKES_STORE | TAKES_JSON,
    .rest_name = "",
    .run = show_traces_main,
};
