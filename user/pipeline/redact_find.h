/* The detectors, one question each: does something begin (or show itself) at `i`? True: [start, end) and `mark` are set. */
#ifndef WF_PIPELINE_REDACT_FIND_H
#define WF_PIPELINE_REDACT_FIND_H

#include "base/base.h"

struct find {
    const char *text;
    size_t n, from; /* nothing before `from` is looked at: it is replaced or copied already */
    u32 flags;      /* enum redact_flag */
    size_t start, end;
    const char *mark;
};

static inline bool found(struct find *f, size_t start, size_t end, const char *mark)
{
    f->start = start, f->end = end, f->mark = mark;
    return true;
}

/* What a word can be that begins with these two bytes (first << 8 | second): nearly all words are told to be nothing by one look. */
enum { BEGIN_TOKEN = 1, BEGIN_HEADER = 2, BEGIN_SQL = 4, BEGIN_IBAN = 8 };
void find_beginnings(u8 table[65536]);

/* at the first byte of a word */
bool find_card(struct find *f, size_t i);
bool find_iban(struct find *f, size_t i);
bool find_token(struct find *f, size_t i);  /* JWT, keys with a known beginning */
bool find_header(struct find *f, size_t i); /* Bearer …, Basic … */
bool find_sql(struct find *f, size_t i);    /* a statement begins here: nothing is set */
/* at a sign */
bool find_email(struct find *f, size_t i);
bool find_url(struct find *f, size_t i);
bool find_query(struct find *f, size_t i);
bool find_pair(struct find *f, size_t i);
bool find_flag(struct find *f, size_t i);
bool find_pem(struct find *f, size_t i);
/* inside a statement that begins at `sql`: a quoted or numeric literal */
bool find_literal(struct find *f, size_t i, size_t sql);

#endif
