/* Pipelines: who reads what another writes. A program whose standard input is the pipe that another one's standard output is gets
 * a link to that one; by the pipe's inode, never by time or order. What a member of a pipeline starts has inherited its
 * descriptors and is no member itself. */
#include "trace/internal.h"

#define PIPES_MAX   4096
#define WRITERS_MAX SPAN_LINKS

struct pipe_ends {
    struct weak reader;
    struct span_context writers[WRITERS_MAX]; /* kept when they have ended: the reader may come later */
    u8 n;
};

bool pipes_open(struct tracer *t)
{
    t->pipes = table_new(&(struct table_spec){ .key_size = 8, .value_size = sizeof(struct pipe_ends), .max = PIPES_MAX });
    return t->pipes;
}

/* The program that made it: a fork without a program of its own (a subshell) is its maker's. */
static const struct process *program_above(struct tracer *t, const struct process *p)
{
    const struct process *up = p;
    for (int hops = 0; hops < 16 && up && (up == p || !up->execs); hops++)
        up = table_peek(t->processes, &up->ppid);
    return up == p ? NULL : up;
}

static void link_to(struct span *reader, const struct span_context *writer)
{
    for (u8 i = 0; i < reader->n_links; i++)
        if (!memcmp(reader->links[i].to.span_id, writer->span_id, SPAN_ID_LEN))
            return;
    if (memcmp(reader->id.span_id, writer->span_id, SPAN_ID_LEN))
        span_add_link(reader, writer, "pipe");
}

static void writer_add(struct tracer *t, u64 pipe, const struct span *s)
{
    struct pipe_ends *e = table_put(t->pipes, &pipe, NULL);
    if (!e)
        return;
    if (e->n < WRITERS_MAX)
        e->writers[e->n++] = s->id;
    struct activity *reader = weak_get(e->reader);
    if (reader)
        link_to(reader->span, &s->id);
}

static void reader_add(struct tracer *t, u64 pipe, struct activity *a)
{
    struct pipe_ends *e = table_put(t->pipes, &pipe, NULL);
    if (!e)
        return;
    e->reader = weak_to(a);
    for (u8 i = 0; i < e->n; i++)
        link_to(a->span, &e->writers[i]);
}

void pipes_seen(struct tracer *t, struct process *p, u64 in, u64 out)
{
    const struct process *above = program_above(t, p);
    p->pipe_in = in;
    p->pipe_out = out;
    if (!p->activity || !p->activity->open || in == out)
        return;
    if (out && !(above && above->pipe_out == out))
        writer_add(t, out, p->activity->span);
    if (in && !(above && above->pipe_in == in))
        reader_add(t, in, p->activity);
}
