/* Secrets in a text, found by hand-written detectors in one pass and replaced in place (the text only ever shrinks).
 *
 *   key=value, key: value, "key": "value", --key value      where the key's name says it is a secret          [redacted]
 *   ://user:password@                                        credentials in a URL                              REDACTED
 *   Bearer …, Basic …                                        credentials of a header                           [redacted]
 *   eyJ….eyJ….…                                              JSON web token                                    [jwt]
 *   sk-…, ghp_…, AKIA…, xoxb-…, -----BEGIN … PRIVATE KEY     keys with a known beginning                       [key]
 *   4111 1111 1111 1111                                      card number: length, issuer, Luhn's sum           [card]
 *   DE89 3704 0044 0532 0130 00                              IBAN: mod 97                                      [iban]
 *   ann@example.org                                          e-mail address                                    [email]
 *   SELECT … WHERE name = 'Ann'                              literals of an SQL statement                      ?
 * A match shorter than its mark becomes as many asterisks. */
#ifndef WF_PIPELINE_REDACT_SCAN_H
#define WF_PIPELINE_REDACT_SCAN_H

#include "base/base.h"

enum redact_flag {
    REDACT_EMAIL = 1,
    REDACT_IBAN = 2,
    REDACT_QUERY = 4, /* every value in a URL's query */
    REDACT_SQL = 8,   /* the text is an SQL statement from its first byte */
};

/* `text` has n bytes and a NUL behind them. Its new length; *ret_n counts what was replaced (added to). */
size_t redact_text(char *text, size_t n, u32 flags, u32 *ret_n);
/* Says the name that what it holds is a secret? password, api_key, X-Auth-Token, clientSecret, … */
bool redact_key(struct slice name);
/* A number that could be a card's. */
bool redact_card_number(u64 v);
/* Writes `mark` (or asterisks) over text[start, end) and closes the gap; the new length. */
size_t redact_replace(char *text, size_t n, size_t start, size_t end, const char *mark);

#endif
