/* One pass over the bytes. A table says which bytes can begin or betray something; at those the detectors look closer, forwards
 * and (for what stands before an @, = or :) backwards, never before `from`, where the last match ended. Every detector gives
 * the run that it wants gone; the earliest one wins because the pass stops there. */
#include "pipeline/redact_scan.h"
#include "pipeline/redact_find.h"

/* --- classes of bytes --- */

enum { WORD = 1, DIGIT = 2, SIGN = 4, QUOTE = 8 };

static u8 class_of(u8 c)
{
    if (c >= '0' && c <= '9')
        return WORD | DIGIT;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_')
        return WORD;
    if (c == '@' || c == '=' || c == ':' || c == '-' || c == '?')
        return SIGN;
    return c == '\'' || c == '"' || c == '$' ? QUOTE : 0;
}

static u8 classes[256];
static u8 beginnings[65536];

__attribute__((constructor)) static void classes_make(void)
{
    for (int c = 0; c < 256; c++)
        classes[c] = class_of((u8)c);
    find_beginnings(beginnings);
}

/* --- the pass --- */

struct scan {
    struct find f;
    bool sql;
    size_t sql_from;
};

static bool at_sign(struct find *f, size_t i)
{
    switch (f->text[i]) {
    case '@':
        return (f->flags & REDACT_EMAIL) && find_email(f, i);
    case ':':
        return find_url(f, i) || find_pair(f, i);
    case '=':
        return find_pair(f, i);
    case '-':
        return find_flag(f, i) || find_pem(f, i);
    case '?':
        return (f->flags & REDACT_QUERY) && find_query(f, i);
    }
    return false;
}

static bool at_word(struct scan *s, size_t i, u8 class)
{
    struct find *f = &s->f;
    if ((class & DIGIT) && find_card(f, i))
        return true;
    u8 can = i + 1 < f->n ? beginnings[(u8)f->text[i] << 8 | (u8)f->text[i + 1]] : 0;
    if (!can)
        return false;
    if (((can & BEGIN_TOKEN) && find_token(f, i)) || ((can & BEGIN_HEADER) && find_header(f, i)) ||
        ((can & BEGIN_IBAN) && (f->flags & REDACT_IBAN) && find_iban(f, i)))
        return true;
    if ((can & BEGIN_SQL) && !s->sql && find_sql(f, i)) {
        s->sql = true;
        s->sql_from = i;
    }
    return false;
}

static bool next_match(struct scan *s)
{
    struct find *f = &s->f;
    u8 before = f->from ? classes[(u8)f->text[f->from - 1]] : 0;
    for (size_t i = f->from; i < f->n; i++) {
        u8 class = classes[(u8)f->text[i]];
        bool begins = (class & WORD) && !(before & WORD);
        before = class;
        if (!class || (class == WORD && !begins))
            continue;
        if (s->sql && (class & (QUOTE | DIGIT)) && (begins || !(class & WORD)) && find_literal(f, i, s->sql_from))
            return true;
        if ((begins && at_word(s, i, class)) || ((class & SIGN) && at_sign(f, i)))
            return true;
    }
    return false;
}

static size_t put_mark(char *out, size_t room, const char *mark)
{
    size_t n = strlen(mark);
    if (n <= room)
        memcpy(out, mark, n);
    else
        memset(out, '*', n = room);
    return n;
}

size_t redact_text(char *text, size_t n, u32 flags, u32 *ret_n)
{
    struct scan s = { .f = { .text = text, .n = n, .flags = flags }, .sql = flags & REDACT_SQL };
    size_t out = 0, copied = 0;
    while (next_match(&s)) {
        size_t gap = s.f.start - copied;
        memmove(text + out, text + copied, gap);
        out += gap;
        out += put_mark(text + out, s.f.end - s.f.start, s.f.mark);
        copied = s.f.from = s.f.end;
        ++*ret_n;
    }
    if (!copied)
        return n;
    memmove(text + out, text + copied, n - copied);
    out += n - copied;
    text[out] = 0;
    return out;
}

size_t redact_replace(char *text, size_t n, size_t start, size_t end, const char *mark)
{
    size_t put = put_mark(text + start, end - start, mark);
    memmove(text + start + put, text + end, n - end);
    n -= end - start - put;
    text[n] = 0;
    return n;
}
