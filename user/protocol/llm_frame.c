/* A body → JSON documents: one in all, one a server-sent event (WHATWG HTML 9.2), one a line, one a message of Amazon's
 * event stream (application/vnd.amazon.eventstream: total length, length of headers, checksum, headers, payload, checksum;
 * big-endian). Bytes that are missing end what can't find its feet again: a line can, binary framing can't, and of one
 * document the end alone still tells something (json_tail). */
#include "protocol/llm_internal.h"

enum line { LINE_NAME, LINE_DATA, LINE_OTHER };
enum part { PART_PRELUDE, PART_HEADERS, PART_PAYLOAD, PART_CHECK };
#define PRELUDE     12
#define MESSAGE_MAX (16u << 20) /* the most that the format allows */

static void document_end(struct llm_body *b)
{
    if (b->side == SIDE_RESPONSE)
        llm_document_over(b->llm);
    json_begin(&b->scan);
}

/* ---- server-sent events ---- */

static void event_end(struct llm_body *b)
{
    if (b->data_n == 6 && !memcmp(b->data, "[DONE]", 6))
        b->llm->whole = true;
    b->data_n = 0;
    document_end(b);
}

static size_t sse_name(struct llm_body *b, u8 c)
{
    if (c == '\n') {
        if (!b->name_n)
            event_end(b);
        b->name_n = 0;
    } else if (c == ':') {
        b->line = b->name_n == 4 && !memcmp(b->name, "data", 4) ? LINE_DATA : LINE_OTHER;
    } else if (c != '\r') {
        if (b->name_n < sizeof(b->name))
            b->name[b->name_n] = (char)c;
        b->name_n += b->name_n < 255;
    }
    return 1;
}

static size_t sse_rest(struct llm_body *b, struct slice in)
{
    ptrdiff_t lf = slice_find(in, '\n');
    struct slice text = lf < 0 ? in : slice_head(in, (size_t)lf);
    if (b->line == LINE_DATA) {
        for (size_t i = 0; i < text.n && b->data_n < sizeof(b->data); i++)
            if (text.p[i] != ' ' && text.p[i] != '\r')
                b->data[b->data_n++] = (char)text.p[i];
        json_feed(&b->scan, &b->sink, text);
    }
    if (lf < 0)
        return in.n;
    b->line = LINE_NAME;
    b->name_n = 0;
    return (size_t)lf + 1;
}

/* ---- lines ---- */

static size_t lines_step(struct llm_body *b, struct slice in)
{
    ptrdiff_t lf = slice_find(in, '\n');
    json_feed(&b->scan, &b->sink, lf < 0 ? in : slice_head(in, (size_t)lf));
    if (lf < 0)
        return in.n;
    document_end(b);
    return (size_t)lf + 1;
}

/* ---- Amazon's event stream ---- */

/* name length (1), name, type (1), and for a string its length (2) and bytes. Other types don't occur where it matters. */
static void headers_read(struct llm_body *b, struct slice h)
{
    while (h.n > 2 && h.n > (size_t)h.p[0] + 4) {
        struct slice name = slice_head(slice_from(h, 1), h.p[0]);
        h = slice_from(h, 1 + name.n);
        if (h.p[0] != 7)
            return;
        struct slice value = slice_head(slice_from(h, 3), load_be16(h.p + 1));
        h = slice_from(h, 3 + (size_t)load_be16(h.p + 1));
        if (slice_eq(name, ":exception-type") || slice_eq(name, ":error-code"))
            llm_text_set(b->llm, LLM_ERROR_TYPE, value);
        if (slice_eq(name, ":event-type") && slice_eq(value, "metadata"))
            b->llm->whole = true;
    }
}

static size_t events_prelude(struct llm_body *b, struct slice in)
{
    size_t n = min_u64(in.n, PRELUDE - b->got);
    memcpy(b->head + b->got, in.p, n);
    b->got += (u32)n;
    if (b->got < PRELUDE)
        return n;
    u32 all = load_be32(b->head), headers = load_be32(b->head + 4);
    if (all < PRELUDE + 4 || all > MESSAGE_MAX || headers > all - PRELUDE - 4) {
        b->dead = true;
        return n;
    }
    b->headers_left = headers;
    b->payload_left = all - headers - PRELUDE - 4;
    b->got = 0;
    b->part = PART_HEADERS;
    return n;
}

static size_t events_headers(struct llm_body *b, struct slice in)
{
    size_t n = min_u64(in.n, b->headers_left), room = sizeof(b->head) - b->got;
    memcpy(b->head + b->got, in.p, min_u64(n, room));
    b->got += (u32)min_u64(n, room);
    b->headers_left -= (u32)n;
    if (b->headers_left)
        return n;
    headers_read(b, slice_of(b->head, b->got));
    b->part = PART_PAYLOAD;
    return n;
}

static size_t events_step(struct llm_body *b, struct slice in)
{
    if (b->part == PART_PRELUDE)
        return events_prelude(b, in);
    if (b->part == PART_HEADERS)
        return events_headers(b, in);
    if (b->part == PART_PAYLOAD) {
        size_t n = min_u64(in.n, b->payload_left);
        json_feed(&b->scan, &b->sink, slice_head(in, n));
        b->payload_left -= (u32)n;
        if (b->payload_left)
            return n;
        document_end(b);
        b->part = PART_CHECK;
        b->got = 0;
        return n;
    }
    size_t n = min_u64(in.n, 4 - b->got);
    b->got += (u32)n;
    if (b->got == 4) {
        b->part = PART_PRELUDE;
        b->got = 0;
    }
    return n;
}

/* ---- holes ---- */

static void tail_keep(struct llm_body *b, struct slice in)
{
    if (in.n >= LLM_TAIL) {
        memcpy(b->tail, in.p + in.n - LLM_TAIL, LLM_TAIL);
        b->tail_n = LLM_TAIL;
        return;
    }
    size_t keep = min_u64(b->tail_n, LLM_TAIL - in.n);
    memmove(b->tail, b->tail + b->tail_n - keep, keep);
    memcpy(b->tail + keep, in.p, in.n);
    b->tail_n = (u32)(keep + in.n);
}

void llm_frame_missing(struct llm_body *b)
{
    b->holed = true;
    b->tail_n = 0;
    b->dead |= b->framing == FRAMING_EVENTS || b->content;
    b->skipping = b->framing == FRAMING_SSE || b->framing == FRAMING_LINES;
}

/* The rest of the line that the hole broke into. */
static struct slice skip_line(struct llm_body *b, struct slice in)
{
    ptrdiff_t lf = slice_find(in, '\n');
    if (lf < 0)
        return slice_from(in, in.n);
    b->skipping = false;
    b->line = LINE_NAME;
    b->name_n = b->data_n = 0;
    json_begin(&b->scan);
    return slice_from(in, (size_t)lf + 1);
}

void llm_frame(struct llm_body *b, struct slice in)
{
    if (b->skipping)
        in = skip_line(b, in);
    while (in.n && !b->dead) {
        size_t n = in.n;
        if (b->framing == FRAMING_SSE)
            n = b->line == LINE_NAME ? sse_name(b, in.p[0]) : sse_rest(b, in);
        else if (b->framing == FRAMING_LINES)
            n = lines_step(b, in);
        else if (b->framing == FRAMING_EVENTS)
            n = events_step(b, in);
        else if (b->framing == FRAMING_JSON && !b->holed)
            json_feed(&b->scan, &b->sink, in);
        else if (b->framing == FRAMING_JSON)
            tail_keep(b, in);
        in = slice_from(in, n);
    }
}

void llm_frame_end(struct llm_body *b)
{
    if (b->framing == FRAMING_JSON && b->holed && !b->dead)
        json_tail(&b->scan, &b->sink, slice_of(b->tail, b->tail_n));
    b->dead = true;
}
