/* Writing JSON: one set of escapes for everybody. (Reading is protocol/json_scan.h.) */
#ifndef WF_BASE_JSON_H
#define WF_BASE_JSON_H

#include "base/base.h"

/* A growing text with a ceiling; once it would pass that, or memory ends, it turns `failed` and stays so. */
struct json {
    char *p;
    size_t n, room, max;
    bool failed;
};
void json_bytes(struct json *j, const char *s, size_t n); /* as they are */
static inline void json_raw(struct json *j, const char *text)
{
    json_bytes(j, text, strlen(text));
} /* a literal's length is free */
void json_u64(struct json *j, u64 n); /* bare digits */
void json_s64(struct json *j, s64 n);
void json_str(struct json *j, const char *s, size_t n); /* quoted and escaped; s is valid UTF-8 */
void json_fmt(struct json *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void json_hex(struct json *j, const u8 *bytes, size_t n); /* quoted */
void json_double(struct json *j, double d);               /* NaN and infinities as strings, as OTLP has it */
void json_text(struct json *j, const char *s);            /* json_str of a C string; NULL is "" */
void json_again(struct json *j);                          /* empty, its room kept */
void json_done(struct json *j);

size_t json_escape(u8 c, char out[8]);       /* one byte of a text as it stands in JSON, NUL-terminated; its length */
void json_print(FILE *to, const char *text); /* quoted; bytes that are no UTF-8 become U+FFFD */

#endif
