#include "tests/wire/wire.h"

#include <ctype.h>
#include <sys/socket.h>

#define CASE_BYTES (1 << 20)

/* ---- reading a case ---- */

static int hex_of(int c) { return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1; }

static size_t unescape(const char *s, u8 *out)
{
    size_t n = 0;
    for (; *s; s++) {
        if (*s != '\\') {
            out[n++] = (u8)*s;
            continue;
        }
        s++;
        switch (*s) {
        case 'r':
            out[n++] = '\r';
            break;
        case 'n':
            out[n++] = '\n';
            break;
        case 't':
            out[n++] = '\t';
            break;
        case '0':
            out[n++] = 0;
            break;
        case 's':
            out[n++] = ' ';
            break;
        case 'x':
            out[n++] = (u8)(hex_of(s[1]) << 4 | hex_of(s[2]));
            s += 2;
            break;
        case 0:
            return n;
        default:
            out[n++] = (u8)*s;
        }
    }
    return n;
}

static bool line_call(struct wire_case *c, const char *line, u64 *clock)
{
    struct wire_op *op = &c->ops[c->n_ops];
    *op = (struct wire_op){ .kind = WIRE_CALL, .from_client = line[0] == '>', .time = *clock, .at = c->n_bytes };
    line++;
    char *end = (char *)line;
    if (*line == '~') {
        op->kind = WIRE_LOST;
        op->len = (u32)strtoul(line + 1, &end, 10);
        c->n_ops++;
        return end > line + 1;
    }
    if (*line == '[') {
        op->len = (u32)strtoul(line + 1, &end, 10);
        if (*end++ != ']')
            return false;
    }
    op->tail = !strncmp(end, "…", strlen("…"));
    end += op->tail ? strlen("…") : *end == ' ';
    op->n = unescape(end, c->bytes + c->n_bytes);
    c->n_bytes += op->n;
    if (op->len < op->n)
        op->len = (u32)op->n;
    c->n_ops++;
    *clock += 10000;
    return true;
}

static bool line_read(struct wire_case *c, char *line, u64 *clock)
{
    line[strcspn(line, "\n")] = 0;
    struct wire_op *op = &c->ops[c->n_ops];
    if (!*line || *line == '#')
        return true;
    if (c->n_ops + 1 >= WIRE_OPS)
        return false;
    switch (*line) {
    case '>':
    case '<':
        return line_call(c, line, clock);
    case '@':
        *clock = strtoull(line + 1, NULL, 10) * 1000;
        return true;
    case '.':
        *op = (struct wire_op){ .kind = WIRE_TICK, .time = strtoull(line + 1, NULL, 10) * 1000 };
        c->n_ops++;
        return true;
    case ':':
        c->server |= !strcmp(line, ": role server");
        c->keep_values |= !strcmp(line, ": privacy off");
        c->joined |= !strcmp(line, ": joined");
        if (!strncmp(line, ": chunks ", 9))
            c->chunk_events = (u16)strtoul(line + 9, NULL, 10);
        return true;
    case 'c':
        *op = (struct wire_op){ .kind = WIRE_CLOSE, .time = *clock, .len = (u32)strtoul(line + 5, NULL, 10) };
        c->n_ops++;
        return !strncmp(line, "close", 5);
    }
    return false;
}

int wire_load(const char *path, struct wire_case *ret)
{
    cleanup(fclosep) FILE *f = fopen(path, "r");
    if (!f)
        return -errno;
    *ret = (struct wire_case){ .bytes = malloc(CASE_BYTES) };
    cleanup(freep) char *line = NULL;
    size_t room = 0;
    u64 clock = 1000000;
    for (int number = 1; ret->bytes && getline(&line, &room, f) >= 0; number++)
        if (ret->n_bytes + strlen(line) > CASE_BYTES || !line_read(ret, line, &clock))
            return number;
    return ret->bytes ? 0 : -ENOMEM;
}

void wire_free(struct wire_case *c) { free(c->bytes); }

/* ---- hearing ---- */

struct heard {
    struct exchange_sink sink;
    FILE *out;
    char *begun[1024];
    size_t n;
};

static void print_attrs(FILE *out, const struct attr_set *set)
{
    for (u16 i = 0; i < set->n; i++) {
        const struct attr *a = &set->v[i];
        if (a->type == ATTR_INT) {
            fprintf(out, "  %s = %lld\n", a->key, (long long)a->i);
        } else if (a->type == ATTR_DOUBLE) {
            fprintf(out, "  %s = %.9g\n", a->key, a->d);
        } else if (a->type == ATTR_BOOL) {
            fprintf(out, "  %s = %s\n", a->key, a->b ? "true" : "false");
        } else if (a->type == ATTR_STRV) {
            fprintf(out, "  %s = [", a->key);
            for (u16 at = 0; at < a->len; at = (u16)(at + strlen(a->s + at) + 1))
                fprintf(out, "%s\"%s\"", at ? ", " : "", a->s + at);
            fprintf(out, "]\n");
        } else
            fprintf(out, "  %s = \"%.*s\"\n", a->key, (int)a->len, a->s);
    }
}

static void *heard_begin(struct exchange_sink *s, const struct exchange *x, const struct message *m)
{
    struct heard *h = container_of(s, struct heard, sink);
    size_t size;
    assert(x->protocol && x->conn && m->name[0] && !m->no_span);
    if (h->n == ARRAY_LEN(h->begun))
        return NULL;
    FILE *out = open_memstream(&h->begun[h->n], &size);
    fprintf(out, "%s: %s\n", x->protocol->name, m->name);
    if (m->traceparent[0])
        fprintf(out, "  traceparent %s\n", m->traceparent);
    if (m->tracestate[0])
        fprintf(out, "  tracestate %s\n", m->tracestate);
    if (m->baggage[0])
        fprintf(out, "  baggage %s\n", m->baggage);
    print_attrs(out, &m->attrs);
    fclose(out);
    return (void *)(uintptr_t)++h->n;
}

static void heard_end(struct exchange_sink *s, void *handle, const struct exchange *x, const struct message *m,
                      const struct exchange_answer *a)
{
    static const char *const how[] = { "answered", "closed", "lost" };
    struct heard *h = container_of(s, struct heard, sink);
    if (!handle)
        return;
    fprintf(h->out, "%s", h->begun[(uintptr_t)handle - 1]);
    fprintf(h->out, "  -> %s", how[a->how]);
    if (a->err)
        fprintf(h->out, " %s", errno_name((int)a->err));
    fprintf(h->out, "\n");
    if (m && m->name[0])
        fprintf(h->out, "  now %s\n", m->name);
    else if (a->asked && a->asked->name[0])
        fprintf(h->out, "  now %s\n", a->asked->name);
    if (m)
        print_attrs(h->out, &m->attrs);
    if (a->asked && !(m && m->name[0])) /* otherwise the answer has said it again */
        print_attrs(h->out, &a->asked->attrs);
    for (u16 i = 0; m && m->marks && i < m->marks->n; i++)
        fprintf(h->out, "  event %s at %llu us: %s = %u\n", m->marks->name, (unsigned long long)m->marks->at[i].time_ns / 1000,
                m->marks->key, m->marks->at[i].size);
    if (m && m->marks && m->marks->dropped)
        fprintf(h->out, "  events dropped %u\n", m->marks->dropped);
    if (m && m->error_type)
        fprintf(h->out, "  error %s%s%s\n", m->error_type, m->error_message ? ": " : "",
                m->error_message ? m->error_message : "");
    fprintf(h->out, "  at %llu..%llu us, answer %llu..%llu us, bytes %llu / %llu, number %llu, offset %llu\n\n",
            (unsigned long long)x->start / 1000, (unsigned long long)a->request_last / 1000, (unsigned long long)a->first / 1000,
            (unsigned long long)a->last / 1000, (unsigned long long)a->request_bytes, (unsigned long long)a->response_bytes,
            (unsigned long long)x->number, (unsigned long long)x->request_pos);
    assert(x->start <= a->last || a->how != EXCHANGE_ANSWERED);
}

/* ---- running ---- */

struct run {
    struct stream *stream;
    const struct wire_case *c;
    u64 pos[2]; /* by direction */
    u32 lost;   /* records that the next event says were lost */
};

static enum dir dir_of(const struct wire_case *c, bool from_client) { return from_client == c->server ? DIR_RECV : DIR_SEND; }

static void feed(struct run *r, enum dir d, const u8 *p, size_t n, u32 len, bool tail, u64 time)
{
    u8 *copy = malloc(n ? n : 1); /* flush with the end of its allocation: ASan sees the first byte too far */
    memcpy(copy, p, n);
    struct event e = { .type = EVENT_DATA,
                       .time = time,
                       .tgid = 7,
                       .tid = 8,
                       .lost = r->lost,
                       .data = { .conn = 1,
                                 .pos = tail ? r->pos[d] + len - n : r->pos[d],
                                 .len = len,
                                 .dir = d,
                                 .tail = tail,
                                 .bytes = { copy, n } } };
    r->lost = 0;
    stream_event(r->stream, &e);
    free(copy);
}

static void run_call(struct run *r, const struct wire_op *op, size_t piece, size_t cut)
{
    enum dir d = dir_of(r->c, op->from_client);
    const u8 *p = r->c->bytes + op->at;
    if (op->tail) {
        r->pos[d] -= op->len;
        feed(r, d, p, op->n, op->len, true, op->time);
        r->pos[d] += op->len;
        return;
    }
    size_t at = 0;
    while (at < op->n || op->n == 0) {
        size_t n = cut && at < cut ? cut : op->n - at;
        if (piece && n > piece)
            n = piece;
        u32 len = at + n == op->n ? op->len - (u32)at : (u32)n;
        feed(r, d, p + at, n, len, false, op->time);
        r->pos[d] += len;
        at += n;
        if (!op->n)
            break;
    }
}

static void run_noise(struct run *r, u64 time)
{
    u8 noise[300];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (u8)(i * 7 + i * i * 13 + 3);
    for (int i = 0; i < 6; i++) {
        enum dir d = i % 2 ? DIR_SEND : DIR_RECV;
        feed(r, d, noise, sizeof(noise), sizeof(noise), false, time);
        r->pos[d] += sizeof(noise);
    }
}

static void run_op(struct run *r, size_t i, const struct wire_bend *b)
{
    const struct wire_op *op = &r->c->ops[i];
    struct event e = { .type = EVENT_CLOSE, .time = op->time, .tgid = 7, .close = { .conn = 1, .err = op->len } };
    if (op->kind == WIRE_LOST || (op->kind == WIRE_CALL && b->drop_op == i)) {
        r->pos[dir_of(r->c, op->from_client)] += op->tail ? 0 : op->len;
        r->lost += op->kind == WIRE_CALL;
    } else if (op->kind == WIRE_CALL)
        run_call(r, op, b->piece, b->cut_op == i ? b->cut_at : 0);
    else if (op->kind == WIRE_TICK)
        stream_tick(r->stream, op->time);
    else
        stream_event(r->stream, &e);
}

char *wire_run(const struct wire_case *c, const struct wire_bend *b)
{
    char *text = NULL;
    size_t size;
    struct heard h = { .sink = { .begin = heard_begin, .end = heard_end }, .out = open_memstream(&text, &size) };
    struct stream_options o = { .privacy = { c->keep_values, c->chunk_events } };
    struct run r = { .stream = stream_new(&o, &h.sink, NULL), .c = c };
    struct event conn = {
        .type = EVENT_CONN,
        .time = 500000,
        .tgid = 7,
        .conn = { .id = 1, .family = AF_INET, .role = c->server ? CONN_SERVER : CONN_CLIENT, .was_open = c->joined }
    };
    stream_event(r.stream, &conn);
    for (size_t i = 0; i < c->n_ops; i++)
        run_op(&r, i, b);
    if (b->garbage)
        run_noise(&r, 900000000);
    stream_tick(r.stream, 1000000000);
    stream_free(r.stream);
    fclose(h.out);
    for (size_t i = 0; i < h.n; i++)
        free(h.begun[i]);
    return text;
}
