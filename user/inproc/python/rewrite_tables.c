/* Line numbers and exception handlers of a code object, read and written. Formats: Objects/lnotab_notes.txt (3.8 to 3.10),
 * Objects/locations.md and Objects/exception_handling_notes.txt (3.11). */
#include "rewrite.h"

struct bytes {
    u8 *p;
    size_t n, cap;
    bool failed;
};

static void byte(struct bytes *b, u32 value)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        u8 *more = realloc(b->p, cap);
        if (!more) {
            b->failed = true;
            return;
        }
        b->p = more;
        b->cap = cap;
    }
    b->p[b->n++] = (u8)value;
}

static PyObject *bytes_take(struct bytes *b)
{
    PyObject *o = b->failed ? NULL : PyBytes_FromStringAndSize((char *)b->p, (Py_ssize_t)b->n);
    free(b->p);
    return o;
}

static s32 first_line(const struct code *c)
{
    cleanup(py_unrefp) PyObject *n = PyObject_GetAttrString(c->site->code, "co_firstlineno");
    return n ? (s32)PyLong_AsLong(n) : 0;
}

/* The table's bytes; the object keeps them. */
static struct slice table(const struct code *c, const char *name, PyObject **ret_owner)
{
    char *p = NULL;
    Py_ssize_t n = 0;
    *ret_owner = PyObject_GetAttrString(c->site->code, name);
    if (!*ret_owner || PyBytes_AsStringAndSize(*ret_owner, &p, &n) < 0)
        return (struct slice){ 0 };
    return slice_of(p, (size_t)n);
}

static void place_range(struct code *c, u32 from_unit, u32 to_unit, struct place at)
{
    for (u32 i = from_unit < c->units ? c->at[from_unit] : c->n_in; i < c->n_in && c->in[i].start < to_unit; i++)
        if (c->in[i].start >= from_unit)
            c->loc[i] = at;
}

/* 3.8, 3.9: (bytes, lines) to go before the next line counts; 3.10: (bytes, lines) that a range has. */
static void pairs_decode(struct code *c, struct slice t)
{
    struct place at = { .line = first_line(c) };
    u32 unit = 0;
    for (size_t i = 0; i + 1 < t.n; i += 2) {
        s8 lines = (s8)t.p[i + 1];
        u32 to = unit + t.p[i] / 2;
        if (py_minor < 10) {
            place_range(c, unit, to, at);
            at.line += lines;
        } else {
            struct place none = { .line = -1 };
            if (lines != -128)
                at.line += lines;
            place_range(c, unit, to, lines == -128 ? none : at);
        }
        unit = to;
    }
    if (py_minor < 10)
        place_range(c, unit, c->units, at);
}

static u32 varint(struct slice t, size_t *i)
{
    u32 value = 0, shift = 0;
    while (*i < t.n) {
        u8 b = t.p[(*i)++];
        value |= (u32)(b & 63) << shift;
        if (!(b & 64))
            break;
        shift = shift < 24 ? shift + 6 : 24;
    }
    return value;
}
static s32 svarint(struct slice t, size_t *i)
{
    u32 v = varint(t, i);
    return v & 1 ? -(s32)(v >> 1) : (s32)(v >> 1);
}

static void locations_decode(struct code *c, struct slice t)
{
    s32 line = first_line(c);
    u32 unit = 0;
    for (size_t i = 0; i < t.n;) {
        u8 head = t.p[i++], form = head >> 3 & 15;
        struct place at = { .column = -1, .end_column = -1 };
        if (form == 15) {
            at.line = at.end_line = -1;
        } else if (form >= 13) {
            at.line = line += svarint(t, &i);
            at.end_line = line + (form == 14 ? (s32)varint(t, &i) : 0);
            if (form == 14) {
                at.column = (s32)varint(t, &i) - 1;
                at.end_column = (s32)varint(t, &i) - 1;
            }
        } else if (form >= 10) {
            at.line = at.end_line = line += form - 10;
            at.column = i < t.n ? t.p[i++] : 0;
            at.end_column = i < t.n ? t.p[i++] : 0;
        } else {
            u8 low = i < t.n ? t.p[i++] : 0;
            at.line = at.end_line = line;
            at.column = form << 3 | (low >> 4 & 7);
            at.end_column = at.column + (low & 15);
        }
        place_range(c, unit, unit + (head & 7) + 1, at);
        unit += (head & 7u) + 1;
    }
}

int lines_decode(struct code *c)
{
    cleanup(py_unrefp) PyObject *owner = NULL;
    struct slice t = table(c, py_minor < 10 ? "co_lnotab" : "co_linetable", &owner);
    if (!owner)
        return -EINVAL;
    if (py_minor < 11) {
        pairs_decode(c, t);
    } else {
        locations_decode(c, t);
    }
    return 0;
}

static void lnotab_step(struct bytes *b, u32 bytes, s32 lines)
{
    for (; bytes > 255; bytes -= 255) {
        byte(b, 255);
        byte(b, 0);
    }
    do {
        s32 step = lines < -128 ? -128 : lines > 127 ? 127 : lines;
        byte(b, bytes);
        byte(b, (u8)step);
        lines -= step;
        bytes = 0;
    } while (lines);
}

static void lnotab_encode(const struct code *c, struct bytes *b)
{
    s32 line = first_line(c);
    u32 unit = 0;
    for (u32 i = 0; i < c->n_out; i++) {
        s32 here = c->loc[c->out[i].from].line;
        if (here == line)
            continue;
        lnotab_step(b, (c->out[i].start - unit) * 2, here - line);
        line = here;
        unit = c->out[i].start;
    }
}

static void linetable_range(struct bytes *b, u32 units, s32 lines, bool none)
{
    for (; !none && (lines > 127 || lines < -127); lines -= lines > 0 ? 127 : -127) {
        byte(b, 0);
        byte(b, (u8)(s8)(lines > 0 ? 127 : -127));
    }
    for (u32 bytes = units * 2, n; bytes; bytes -= n, lines = 0) {
        n = bytes > 254 ? 254 : bytes;
        byte(b, n);
        byte(b, (u8)(s8)(none ? -128 : lines));
    }
}

static void linetable_encode(const struct code *c, struct bytes *b)
{
    s32 line = first_line(c);
    for (u32 i = 0, k; i < c->n_out; i = k) {
        s32 here = c->loc[c->out[i].from].line;
        for (k = i + 1; k < c->n_out && c->loc[c->out[k].from].line == here;)
            k++;
        linetable_range(b, c->out[k - 1].next - c->out[i].start, here - line, here < 0);
        if (here >= 0)
            line = here;
    }
}

static void put_varint(struct bytes *b, u32 v)
{
    for (; v > 63; v >>= 6)
        byte(b, 64 | (v & 63));
    byte(b, v);
}
static void put_svarint(struct bytes *b, s32 v) { put_varint(b, v < 0 ? (u32)-v << 1 | 1 : (u32)v << 1); }

static void location_put(struct bytes *b, u32 units, const struct place *at, s32 *line)
{
    u32 form = at->line < 0 ? 15 : at->column < 0 ? 13 : 14;
    byte(b, 0x80 | form << 3 | (units - 1));
    if (form == 15)
        return;
    put_svarint(b, at->line - *line);
    *line = at->line;
    if (form == 13)
        return;
    put_varint(b, (u32)(at->end_line - at->line));
    put_varint(b, (u32)(at->column + 1));
    put_varint(b, (u32)(at->end_column + 1));
}

static void locations_encode(const struct code *c, struct bytes *b)
{
    s32 line = first_line(c);
    for (u32 i = 0, k; i < c->n_out; i = k) {
        const struct place *at = &c->loc[c->out[i].from];
        for (k = i + 1; k < c->n_out && !memcmp(&c->loc[c->out[k].from], at, sizeof *at);)
            k++;
        for (u32 units = c->out[k - 1].next - c->out[i].start, n; units; units -= n) {
            n = units > 8 ? 8 : units;
            location_put(b, n, at, &line);
        }
    }
}

PyObject *lines_encode(const struct code *c)
{
    struct bytes b = { 0 };
    if (py_minor < 10) {
        lnotab_encode(c, &b);
    } else if (py_minor == 10) {
        linetable_encode(c, &b);
    } else {
        locations_encode(c, &b);
    }
    return bytes_take(&b);
}

u32 handler_add(struct code *c, s32 target, s32 label, u32 depth, bool lasti)
{
    struct handler *more = realloc(c->handlers, (c->n_handlers + 1) * sizeof *more);
    if (!more) {
        c->failed = true;
        return 0;
    }
    c->handlers = more;
    more[c->n_handlers] = (struct handler){ .target = target, .label = label, .depth = depth, .lasti = lasti };
    return ++c->n_handlers;
}

u32 handler_depth(const struct code *c, u32 handler) { return handler ? c->handlers[handler - 1].depth : 0; }

/* Handlers: numbers of six bits a byte, most significant first; bit 6 says that more follow, bit 7 that an entry begins. */
static u32 big_varint(struct slice t, size_t *i)
{
    u32 value = 0;
    while (*i < t.n) {
        u8 b = t.p[(*i)++];
        value = value << 6 | (b & 63);
        if (!(b & 64))
            break;
    }
    return value;
}

int handlers_decode(struct code *c)
{
    cleanup(py_unrefp) PyObject *owner = NULL;
    struct slice t = table(c, "co_exceptiontable", &owner);
    for (size_t i = 0; i < t.n;) {
        u32 start = big_varint(t, &i), units = big_varint(t, &i), target = big_varint(t, &i), depth = big_varint(t, &i);
        if (target >= c->units || start + units > c->units)
            return -EINVAL;
        u32 number = handler_add(c, (s32)c->at[target], -1, depth >> 1, depth & 1);
        for (u32 k = c->at[start]; k < c->n_in && c->in[k].start < start + units; k++)
            c->covered[k] = number;
    }
    return owner ? 0 : -EINVAL;
}

static void put_big_varint(struct bytes *b, u32 v, u32 first)
{
    for (u32 shift = 24; shift; shift -= 6)
        if (v >> shift) {
            byte(b, first | 64 | (v >> shift & 63));
            first = 0;
        }
    byte(b, first | (v & 63));
}

PyObject *handlers_encode(const struct code *c)
{
    struct bytes b = { 0 };
    for (u32 i = 0, k; i < c->n_out; i = k) {
        u32 number = c->out[i].handler;
        for (k = i + 1; k < c->n_out && c->out[k].handler == number;)
            k++;
        if (!number)
            continue;
        const struct handler *h = &c->handlers[number - 1];
        u32 start = c->out[i].start, target = c->out[h->label >= 0 ? c->label[h->label] : c->entry[h->target]].start;
        put_big_varint(&b, start, 0x80);
        put_big_varint(&b, c->out[k - 1].next - start, 0);
        put_big_varint(&b, target, 0);
        put_big_varint(&b, h->depth << 1 | h->lasti, 0);
    }
    return bytes_take(&b);
}
