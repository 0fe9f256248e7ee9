/* The picture for people, on standard error: a live tree on a terminal, one line per finished activity elsewhere.
 *
 * Spans start on the shards' threads, which must never wait for a terminal: the tree is touched under a lock, text is
 * built under it too, and written without it, by the exporter's own thread only. While the picture is up, log lines come
 * through here as well. */
#include "export/screen.h"
#include "export/tree.h"
#include "base/log.h"

#include <pthread.h>
#include <unistd.h>

#define NODES_MAX     8192
#define FRAME_NS      (100 * NSEC_PER_MSEC)
#define SHOW_AFTER_NS (300 * NSEC_PER_MSEC) /* what ends sooner never needs the live rows */
#define SAID_MAX      16384

struct console {
    pthread_mutex_t lock; /* tree, said */
    struct tree *tree;
    char said[SAID_MAX]; /* log lines on their way to the screen, each with its newline */
    size_t said_n;
    /* the exporter's thread only */
    struct screen screen;
    bool live, color;
    u64 last_frame, finished, failed;
    char rows[SCREEN_REGION][512];
    u32 n_rows, hidden;
};

/* Who owns log lines now. A hook may still run on another thread when the console closes, hence its own lock. */
static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;
static struct console *owner;

static void on_log(const char *line)
{
    pthread_mutex_lock(&owner_lock);
    struct console *c = owner;
    if (c) {
        pthread_mutex_lock(&c->lock);
        size_t n = strlen(line);
        if (c->said_n + n + 1 <= sizeof(c->said)) {
            memcpy(c->said + c->said_n, line, n);
            c->said[c->said_n + n] = '\n';
            c->said_n += n + 1;
        }
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_unlock(&owner_lock);
}

static void log_take(struct console *c)
{
    pthread_mutex_lock(&owner_lock);
    owner = c;
    __atomic_store_n(&log_hook, c ? on_log : NULL, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&owner_lock);
}

static void console_free(struct console *c)
{
    tree_free(c->tree);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int console_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    const char *term = getenv("TERM");
    struct console *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->color = spec->color;
    c->live = !strcmp(spec->target, "live") || (!*spec->target && isatty(STDERR_FILENO) && !(term && !strcmp(term, "dumb")));
    if (c->live && !(c->tree = tree_new(NODES_MAX))) {
        snprintf(err, err_size, "out of memory");
        console_free(c);
        return -ENOMEM;
    }
    screen_open(&c->screen, STDERR_FILENO);
    if (c->live)
        log_take(c);
    *ret = c;
    return 0;
}

static void console_started(void *self, struct span *s)
{
    struct console *c = self;
    if (!c->live)
        return;
    pthread_mutex_lock(&c->lock);
    tree_start(c->tree, s);
    pthread_mutex_unlock(&c->lock);
}

static void console_dropped(void *self, const struct span *s)
{
    struct console *c = self;
    if (!c->live)
        return;
    pthread_mutex_lock(&c->lock);
    tree_drop(c->tree, s);
    pthread_mutex_unlock(&c->lock);
}

static const char *ink(const struct console *c, const char *code) { return c->color ? code : ""; }

/* 12:01:02.345  POST /orders  201  14.2 ms  order-api  trace=… */
static void print_plain(struct console *c, const struct span *s)
{
    char at[16], name[256], detail[128], took[32], trace[2 * TRACE_ID_LEN + 1], message[200], service[64];
    char line[1024];
    bool failed = s->status == STATUS_ERROR;
    wall_text(s->start_ns, at, sizeof(at));
    text_copy(name, sizeof(name), s->name, true);
    text_copy(service, sizeof(service), resource_service(s->resource), true);
    span_detail(s, detail, sizeof(detail));
    duration_text(s->end_ns > s->start_ns ? s->end_ns - s->start_ns : 0, took, sizeof(took));
    hex_encode(s->id.trace_id, TRACE_ID_LEN, trace);
    span_says(s, message, sizeof(message));
    snprintf(line, sizeof(line), "%s%s%s  %s%s%s%s%s%s  %s  %s%s  trace=%s%s%s%s%s%s", ink(c, "\x1b[2m"), at, ink(c, "\x1b[0m"),
             ink(c, failed ? "\x1b[31m" : ""), failed ? "\xe2\x9c\x97 " : "", name, *detail ? "  " : "", detail,
             ink(c, "\x1b[0m"), took, ink(c, "\x1b[2m"), service, trace, ink(c, "\x1b[0m"), *message ? "  " : "",
             ink(c, "\x1b[31m"), message, ink(c, "\x1b[0m"));
    screen_print(&c->screen, line);
}

static bool print_line(void *arg, const char *line)
{
    screen_print(arg, line);
    return true;
}

static struct tree_style style_of(const struct console *c, u64 now)
{
    return (struct tree_style){ .width = c->screen.columns, .color = c->color, .now_ns = now };
}

static void print_ready(struct console *c, u64 now, bool final)
{
    struct tree_style style = style_of(c, now);
    for (struct node *n; (n = tree_ready(c->tree, now, final));) {
        tree_draw(n, &style, print_line, &c->screen);
        tree_forget(c->tree, n);
    }
}

static bool keep_row(void *arg, const char *line)
{
    struct console *c = arg;
    if (c->n_rows == SCREEN_REGION)
        return false;
    snprintf(c->rows[c->n_rows++], sizeof(c->rows[0]), "%s", line);
    return true;
}

/* The rows at the bottom: a headline, then the chains of what runs. */
static void frame_build(struct console *c, u64 now)
{
    struct tree_style style = style_of(c, now);
    u32 running = tree_running(c->tree);
    style.only_running = true;
    c->n_rows = 0;
    for (struct node *n = tree_tops(c->tree); n && c->n_rows < SCREEN_REGION; n = n->next) {
        if (!n->open || now < n->start_ns + SHOW_AFTER_NS)
            continue;
        if (!c->n_rows) {
            char head[256];
            snprintf(head, sizeof(head), "%s\xe2\x94\x80\xe2\x94\x80 wftrace: %u running, %llu finished, %llu failed %s",
                     ink(c, "\x1b[2m"), running, (unsigned long long)c->finished, (unsigned long long)c->failed,
                     ink(c, "\x1b[0m"));
            keep_row(c, head);
        }
        tree_draw(n, &style, keep_row, c);
    }
}

static void print_said(struct console *c)
{
    for (char *s = c->said, *end = c->said + c->said_n, *nl; s < end; s = nl + 1) {
        nl = memchr(s, '\n', (size_t)(end - s));
        *nl = 0;
        screen_print(&c->screen, s);
    }
    c->said_n = 0;
}

static void console_tick(void *self, u64 now)
{
    struct console *c = self;
    if (!c->live || now - c->last_frame < FRAME_NS) /* also when the clock went back: unsigned */
        return;
    c->last_frame = now;
    screen_measure(&c->screen);
    pthread_mutex_lock(&c->lock);
    print_said(c);
    print_ready(c, now, false);
    frame_build(c, now);
    pthread_mutex_unlock(&c->lock);
    if (c->n_rows || c->screen.region)
        screen_show(&c->screen, c->rows, c->n_rows);
    screen_flush(&c->screen);
}

static enum export_result console_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct console *c = self;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < b->n; i++) {
        c->finished++;
        c->failed += b->spans[i]->status == STATUS_ERROR;
        if (c->live)
            tree_end(c->tree, b->spans[i]);
        else
            print_plain(c, b->spans[i]);
    }
    pthread_mutex_unlock(&c->lock);
    if (c->live)
        return EXPORT_OK;
    return lines_write(&c->screen.out, ret);
}

static void console_close(void *self)
{
    struct console *c = self;
    if (c->live) {
        log_take(NULL);
        print_said(c);
        screen_show(&c->screen, NULL, 0);
        print_ready(c, clock_wall_ns(), true);
    }
    screen_close(&c->screen);
    console_free(c);
}

const struct exporter exporter_console = {
    .name = "console",
    .help = "console[:live|:lines]     a live tree on a terminal, one line per finished activity elsewhere",
    .live = true,
    .open = console_open,
    .send = console_send,
    .started = console_started,
    .dropped = console_dropped,
    .tick = console_tick,
    .close = console_close,
};
