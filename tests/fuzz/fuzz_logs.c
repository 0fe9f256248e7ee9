/* Anything as a line of log, and as lines of one write: bodies and attributes are valid text within their bounds. */
#include "pipeline/logs_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void lines(struct slice text)
{
    enum log_block block = LOG_BLOCK_NONE;
    bool has = false;
    while (text.n) {
        ptrdiff_t end = slice_find(text, '\n');
        struct slice line = slice_head(text, end < 0 ? text.n : (size_t)end);
        enum log_line kind = log_line_kind(line, has, line.n & 1, &block);
        assert(has || kind == LOG_LINE_NEW);
        has = true;
        text = slice_from(text, line.n + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    u8 *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    struct slice text = slice_of(copy, n);
    lines(text);
    struct log_record *l = log_line_record(text, 1700000000000000000ull);
    assert(l && l->body_len == strlen(l->body) && l->body_len <= LOG_BODY && l->severity <= 24);
    for (u16 i = 0; i < l->attrs.n; i++)
        assert(l->attrs.v[i].type != ATTR_STR || strlen(l->attrs.v[i].s) == l->attrs.v[i].len);
    log_unref(l);
    free(copy);
    return 0;
}
