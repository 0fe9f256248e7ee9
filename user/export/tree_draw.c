/* The picture: name and detail from the left, service and duration at the right edge, an error's first line below.
 *
 *   12:01:02.345 POST /orders  201  order-api                            14.2 ms
 *     ├─ SELECT orders                                                      2.1 ms
 *     ╰─ ✗ charge card  TimeoutError                                       10.0 ms
 *          card service did not answer                                              */
#include "export/tree.h"

#define CHILDREN_MAX 40
#define PREFIX_MAX   512
#define LINE_BYTES   2048

#define DIM   "\x1b[2m"
#define RED   "\x1b[31m"
#define BOLD  "\x1b[1m"
#define CYAN  "\x1b[36m"
#define PLAIN "\x1b[0m"

#define TEE    "\xe2\x94\x9c\xe2\x94\x80 "
#define CORNER "\xe2\x95\xb0\xe2\x94\x80 "

struct pen {
    const struct tree_style *style;
    line_fn emit;
    void *arg;
    bool stopped;
    char prefix[PREFIX_MAX]; /* of the children now being drawn */
};

static const char *ink(const struct pen *p, const char *code) { return p->style->color ? code : ""; }

static void pen_line(struct pen *p, char *line)
{
    if (!p->stopped && !p->emit(p->arg, line))
        p->stopped = true;
}

/* Left part cut to what the right part leaves, and blanks between. */
static void pen_two_sided(struct pen *p, const char *left, const char *right)
{
    char line[LINE_BYTES];
    u32 width = p->style->width < 40 ? 40 : p->style->width, r = text_columns(right);
    snprintf(line, sizeof(line) - 300, "%s", left);
    text_fit(line, width - r - 2);
    u32 gap = width - r - text_columns(line);
    size_t n = strlen(line);
    snprintf(line + n, sizeof(line) - n, "%s%*s%s", ink(p, PLAIN), (int)gap, "", right);
    pen_line(p, line);
}

static void right_text(const struct pen *p, const struct node *n, char *out, size_t size)
{
    char took[32];
    u64 end = n->running ? max_u64(p->style->now_ns, n->start_ns) : n->end_ns;
    duration_text(end - n->start_ns, took, sizeof(took));
    int pad = (int)(text_columns(took) < 8 ? 8 - text_columns(took) : 0);
    snprintf(out, size, "%s%s%*s%s%s", ink(p, n->running ? CYAN : DIM), n->running ? "\xe2\x80\xa6" : " ", pad, "", took,
             ink(p, PLAIN));
}

/* Its own doing, not that of a running one beneath it. */
static bool is_stuck(const struct pen *p, const struct node *n)
{
    u64 now = p->style->now_ns;
    return n->running && n->by_rule && n->open == 1 && now >= n->start_ns + TREE_STUCK_NS && now >= n->changed_ns + TREE_STUCK_NS;
}

/* A queue is often called as the service that works it off: once is enough. */
static bool says_last(const char *detail, const char *word)
{
    size_t n = strlen(detail), w = strlen(word);
    return n >= w && !strcmp(detail + n - w, word) && (n == w || detail[n - w - 1] == ' ');
}

static void name_text(const struct pen *p, const struct node *n, bool with_service, char *out, size_t size)
{
    const char *tone = n->failed ? RED : n->running ? CYAN : "";
    size_t used;
    snprintf(out, size, "%s%s%s%s%s", ink(p, tone), ink(p, n->parent ? "" : BOLD), n->failed ? "\xe2\x9c\x97 " : "", n->name,
             ink(p, PLAIN));
    used = strlen(out);
    if (*n->detail)
        snprintf(out + used, size - used, "  %s%s%s", ink(p, n->failed ? RED : ""), n->detail, ink(p, PLAIN));
    used = strlen(out);
    if (is_stuck(p, n)) {
        char quiet[32];
        duration_text(p->style->now_ns - n->changed_ns, quiet, sizeof(quiet));
        snprintf(out + used, size - used, "  %sstuck? quiet for %s%s", ink(p, RED), quiet, ink(p, PLAIN));
        used = strlen(out);
    }
    if (with_service && *n->service && strcmp(n->service, n->name) != 0 && !says_last(n->detail, n->service))
        snprintf(out + used, size - used, "  %s%s%s", ink(p, DIM), n->service, ink(p, PLAIN));
}

static void draw_message(struct pen *p, const struct node *n, const char *indent)
{
    char line[LINE_BYTES];
    if (!n->failed || !*n->message)
        return;
    snprintf(line, sizeof(line), "%s%s%s %s%s%s%s", ink(p, DIM), indent, n->first ? "\xe2\x94\x82" : " ", ink(p, PLAIN),
             ink(p, RED), n->message, ink(p, PLAIN));
    text_fit(line, p->style->width < 40 ? 40 : p->style->width);
    pen_line(p, line);
}

static void draw_note(struct pen *p, const char *branch, const char *fmt, u32 n, u32 failed)
{
    char line[LINE_BYTES], note[128];
    int len = snprintf(note, sizeof(note), fmt, n);
    if (failed)
        snprintf(note + len, sizeof(note) - (size_t)len, ", %u failed", failed);
    snprintf(line, sizeof(line), "%s%s%s%s%s", ink(p, DIM), p->prefix, branch, note, ink(p, PLAIN));
    pen_line(p, line);
}

static void draw_children(struct pen *p, const struct node *n);

static void draw_child(struct pen *p, const struct node *c, bool last)
{
    char name[512], left[LINE_BYTES], right[128];
    size_t base = strlen(p->prefix);
    bool deep = base + 8 >= sizeof(p->prefix) || base > p->style->width * 2; /* then the indentation stops growing */
    name_text(p, c, strcmp(c->service, c->parent->service) != 0, name, sizeof(name));
    right_text(p, c, right, sizeof(right));
    snprintf(left, sizeof(left), "%s%s%s%s%s", ink(p, DIM), p->prefix, last ? CORNER : TEE, ink(p, PLAIN), name);
    pen_two_sided(p, left, right);
    if (!deep)
        strcat(p->prefix, last ? "   " : "\xe2\x94\x82  ");
    draw_message(p, c, p->prefix);
    draw_children(p, c);
    p->prefix[base] = 0;
}

static bool is_wanted(const struct pen *p, const struct node *n) { return !p->style->only_running || n->open; }

static void draw_children(struct pen *p, const struct node *n)
{
    u32 max = p->style->max_children ? p->style->max_children : CHILDREN_MAX, wanted = 0, drawn = 0, failed = 0;
    bool note_shown = n->shown && !p->style->only_running;
    for (const struct node *c = n->first; c; c = c->next)
        wanted += is_wanted(p, c);
    u32 limit = wanted > max ? max : wanted;
    for (const struct node *c = n->first; c && !p->stopped; c = c->next) {
        if (!is_wanted(p, c))
            continue;
        if (drawn < limit)
            draw_child(p, c, ++drawn == wanted && !note_shown);
        else
            failed += c->failed;
    }
    if (wanted > limit)
        draw_note(p, note_shown ? TEE : CORNER, "\xe2\x80\xa6 %u more", wanted - limit, failed);
    if (note_shown)
        draw_note(p, CORNER, "\xe2\x80\xa6 %u shown above", n->shown, n->shown_failed);
}

static void draw_top(struct pen *p, const struct node *n)
{
    char name[512], left[LINE_BYTES], right[128], at[16];
    wall_text(n->start_ns, at, sizeof(at));
    if (!n->seen) {
        bool remote = n->first && n->first->remote_parent;
        snprintf(left, sizeof(left), "%s%s (parent %s)%s", ink(p, DIM), at, remote ? "in another program" : "not seen",
                 ink(p, PLAIN));
        pen_line(p, left);
        return;
    }
    name_text(p, n, true, name, sizeof(name));
    right_text(p, n, right, sizeof(right));
    snprintf(left, sizeof(left), "%s%s%s %s", ink(p, DIM), at, ink(p, PLAIN), name);
    pen_two_sided(p, left, right);
    draw_message(p, n, p->prefix);
}

void tree_draw(const struct node *top, const struct tree_style *style, line_fn emit, void *arg)
{
    struct pen p = { .style = style, .emit = emit, .arg = arg, .prefix = "  " };
    draw_top(&p, top);
    draw_children(&p, top);
}
