/* Activities as trees, built from spans in any order of arrival, in bounded memory, and their picture as lines of text.
 * One thread at a time. The console draws live from it; a store can show a finished trace with it.
 *
 * A parent that has not come yet is a placeholder, filled in when it does. A tree is complete when its root has ended,
 * nothing in it runs and nothing has changed for a moment; a placeholder's tree, when its parent has stayed away for
 * longer. Of a root that runs on and on (a server process) complete branches are given out one by one. */
#ifndef WF_EXPORT_TREE_H
#define WF_EXPORT_TREE_H

#include "trace/span.h"

#define NODE_NAME    96
#define NODE_DETAIL  96
#define NODE_MESSAGE 160
#define NODE_SERVICE 40

struct node {
    struct node *parent, *first, *last, *prev, *next; /* tops are siblings of each other */
    u8 trace_id[TRACE_ID_LEN], span_id[SPAN_ID_LEN], parent_id[SPAN_ID_LEN];
    u64 start_ns, end_ns;                                   /* wall clock; end 0: runs */
    u64 changed_ns;                                         /* last change in this branch, wall clock */
    u32 open;                                               /* running ones in this branch, itself included */
    u32 shown, shown_failed;                                /* children that were given out before, or pushed out of memory */
    bool seen;                                              /* false: placeholder */
    bool by_rule;                                           /* an activity that a rule or pack declares */
    bool running, failed, remote_parent, has_parent, under; /* under: linked to its parent's node or placeholder */
    char name[NODE_NAME], detail[NODE_DETAIL], message[NODE_MESSAGE], service[NODE_SERVICE]; /* printable UTF-8 */
};

struct tree;
struct tree *tree_new(u32 max_nodes); /* NULL on no memory */
struct tree *tree_free(struct tree *t);
void tree_start(struct tree *t, const struct span *s);
void tree_end(struct tree *t, const struct span *s);
void tree_drop(struct tree *t, const struct span *s); /* it is not to be shown, unless something hangs below it */
u32 tree_running(const struct tree *t);               /* activities that run now */
struct node *tree_tops(struct tree *t);               /* first top; follow ->next */
/* The next branch to print, oldest first, or NULL. `final`: nothing more will come, all is ready. After printing it, and
 * before anything else, tree_forget() it. */
struct node *tree_ready(struct tree *t, u64 now_ns, bool final);
void tree_forget(struct tree *t, struct node *branch);

/* A declared activity that has been open for so long, and nothing in its branch began or ended for so long, is called stuck. */
#define TREE_STUCK_NS (60 * NSEC_PER_SEC)

struct tree_style {
    u32 width; /* columns */
    bool color;
    u64 now_ns;        /* for what still runs */
    bool only_running; /* leave out branches in which nothing runs */
    u32 max_children;  /* of one node; more are folded into a line that counts them; 0: 40 */
};
/* One finished line, without its newline. False stops the drawing. */
typedef bool (*line_fn)(void *arg, const char *line);
void tree_draw(const struct node *top, const struct tree_style *style, line_fn emit, void *arg);

/* What is worth saying about a span beside its name: status code, query summary, path, exit code, error type. */
void span_detail(const struct span *s, char *out, size_t size);
/* The first line of what a failed span says about its failure, beyond its detail; "" else. */
void span_says(const struct span *s, char *out, size_t size);
/* Copies text fit for a terminal: no control characters, no direction overrides, whole characters only; with
 * `first_line` up to the first line break. */
void text_copy(char *out, size_t size, const char *s, bool first_line);
u32 text_columns(const char *s); /* what it takes on a terminal; colour sequences count nothing */
/* Cut to `columns`, with an ellipsis when something is lost. */
void text_fit(char *s, u32 columns);
void wall_text(u64 wall_ns, char *out, size_t size); /* "12:01:02.345", local time */
void duration_text(u64 ns, char *out, size_t size);  /* "14.2 ms" */

#endif
