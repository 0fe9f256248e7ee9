/* wftrace show-trace: one trace as a tree, with a bar that shows when each span ran.
 *
 *   POST /orders  201                  order-api   ▕██████████████████████▏   14.2 ms
 *   ├─ SELECT orders                               ▕  ████                ▏    2.1 ms
 *   ╰─ ✗ charge card  TimeoutError     payment     ▕        ██████████████▏   10.0 ms */
#include "cli/show.h"
#include "export/encode.h"
#include "export/tree.h"

#include <unistd.h>

#define NODES_MAX  20000
#define BAR        24
#define TOOK       10
#define DEPTH_SEEN 24

struct picture {
    struct tree *tree;
    u64 start, end;
    u32 spans, width;
    bool color;
    u8 trace_id[TRACE_ID_LEN];
    struct json json;
};

static bool take_span(void *arg, struct span *s)
{
    struct picture *p = arg;
    p->start = p->spans ? min_u64(p->start, s->start_ns) : s->start_ns;
    p->end = max_u64(p->end, s->end_ns);
    tree_end(p->tree, s);
    return ++p->spans < NODES_MAX;
}

static bool print_span(void *arg, struct span *s)
{
    struct picture *p = arg;
    p->spans++;
    json_span(&p->json, s);
    fwrite(p->json.p, 1, p->json.n, stdout);
    p->json.n = 0;
    return true;
}

static const char *ink(const struct picture *p, const char *code) { return p->color ? code : ""; }

static u32 column_of(const struct picture *p, u64 at)
{
    u64 whole = p->end - p->start;
    return whole ? (u32)((double)(at - p->start) / (double)whole * BAR) : 0;
}

static void draw_bar(const struct picture *p, const struct node *n)
{
    u32 from = column_of(p, n->start_ns), to = column_of(p, max_u64(n->end_ns, n->start_ns));
    from = from < BAR ? from : BAR - 1;
    to = to > from ? to : from + 1;
    printf("\xe2\x96\x95%s", ink(p, n->failed ? "\x1b[31m" : "\x1b[36m"));
    for (u32 i = 0; i < BAR; i++)
        fputs(i < from || i >= to ? " " : "\xe2\x96\x88", stdout);
    printf("%s\xe2\x96\x8f", ink(p, "\x1b[0m"));
}

static void draw_line(const struct picture *p, const struct node *n, const char *prefix, const char *branch)
{
    char left[2048], took[32];
    u32 room = p->width > BAR + TOOK + 20 ? p->width - BAR - TOOK - 4 : 20;
    bool other = !n->parent || strcmp(n->service, n->parent->service) != 0;
    if (n->seen)
        snprintf(left, sizeof(left), "%s%s%s%s%s%s%s%s", prefix, branch, n->failed ? "\xe2\x9c\x97 " : "", n->name,
                 *n->detail ? "  " : "", n->detail, other && *n->service ? "  \xc2\xb7 " : "", other ? n->service : "");
    else
        snprintf(left, sizeof(left), "%s%s(a parent elsewhere)", prefix, branch);
    text_fit(left, room);
    duration_text(n->end_ns - n->start_ns, took, sizeof(took));
    printf("%s%*s ", left, (int)(room - text_columns(left)), "");
    if (n->seen) {
        draw_bar(p, n);
        printf(" %*s%s", (int)(TOOK - 1 - min_u64(text_columns(took), TOOK - 1)), "", took);
    }
    putchar('\n');
    if (n->failed && *n->message) {
        snprintf(left, sizeof(left), "%s     %s", prefix, n->message);
        text_fit(left, p->width);
        printf("%s%s%s\n", ink(p, "\x1b[31m"), left, ink(p, "\x1b[0m"));
    }
}

static void draw_branch(const struct picture *p, const struct node *n, char *prefix, size_t size)
{
    size_t base = strlen(prefix);
    for (const struct node *c = n->first; c; c = c->next) {
        draw_line(p, c, prefix, c->next ? "\xe2\x94\x9c\xe2\x94\x80 " : "\xe2\x95\xb0\xe2\x94\x80 ");
        if (base < DEPTH_SEEN * 5)
            snprintf(prefix + base, size - base, "%s", c->next ? "\xe2\x94\x82  " : "   ");
        draw_branch(p, c, prefix, size);
        prefix[base] = 0;
    }
}

static void draw(struct picture *p)
{
    char prefix[DEPTH_SEEN * 6 + 16] = "", id[2 * TRACE_ID_LEN + 1], at[16];
    hex_encode(p->trace_id, TRACE_ID_LEN, id);
    wall_text(p->start, at, sizeof(at));
    printf("%strace %s  %s  %u span%s%s\n", ink(p, "\x1b[2m"), id, at, p->spans, p->spans == 1 ? "" : "s", ink(p, "\x1b[0m"));
    for (const struct node *n = tree_tops(p->tree); n; n = n->next) {
        draw_line(p, n, prefix, "");
        draw_branch(p, n, prefix, sizeof(prefix));
    }
    if (p->spans == NODES_MAX)
        printf("\xe2\x80\xa6 only the first %u spans are shown\n", NODES_MAX);
}

static int find(struct store *s, const char *hex, u8 *id)
{
    int code = store_find(s, hex, id);
    if (code == -ENOENT)
        complain("no trace %s in the store; show-traces lists them", hex);
    else if (code == -EEXIST)
        complain("several traces begin with %s: write more digits", hex);
    else if (code == -EINVAL)
        complain("'%s' is no trace id: up to 32 hex digits", hex);
    else if (code)
        show_failed(s, code);
    return code;
}

static int show(struct store *s, struct picture *p, bool json)
{
    int code = store_each_span(s, p->trace_id, json ? print_span : take_span, p);
    if (code)
        return show_failed(s, code);
    if (!json)
        draw(p);
    return EXIT_FINE;
}

static int show_trace_main(struct options *o)
{
    int exit_status;
    struct store *s = show_open(o, &exit_status);
    if (!s)
        return exit_status;
    struct picture p = { .tree = tree_new(NODES_MAX), .width = (u32)terminal_width(STDOUT_FILENO), .json = { .max = 1 << 20 } };
    const char *no_color = getenv("NO_COLOR");
    p.color = !o->no_color && isatty(STDOUT_FILENO) && !(no_color && *no_color);
    int code = find(s, o->rest[0], p.trace_id);
    exit_status = code == -EINVAL ? EXIT_USAGE : code ? EXIT_RUNTIME : p.tree ? show(s, &p, o->json) : EXIT_RUNTIME;
    tree_free(p.tree);
    json_done(&p.json);
    store_close(s);
    return exit_status;
}

const struct command command_show_trace = {
    .name = "show-trace",
    .usage = "ID [--json]",
    .summary = "one trace of the store as a tree, with a bar for each span",
    .more = "ID is a trace id or its first digits. --json: one span a line, as --export console:json writes it.",
    .takes = TAKES_STORE | TAKES_JSON,
    .min_rest = 1,
    .max_rest = 1,
    .rest_name = "a trace id",
    .run = show_trace_main,
};
