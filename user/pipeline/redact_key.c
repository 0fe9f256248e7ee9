/* Names of secrets. A name is cut at . _ - and blanks and where camelCase turns; long words count at the end of the name, the
 * unmistakable ones anywhere, short ones only when they are its last part. */
#include "pipeline/redact_scan.h"

static const char *const anywhere[] = { "password", "passwd", "passphrase", "secret", "privatekey", "credential" };
static const char *const at_end[] = { "token",     "apikey",     "accesskey",  "accesskeyid",      "authorization", "cookie",
                                      "sessionid", "sessionkey", "signature",  "signingkey",       "encryptionkey", "jwt",
                                      "bearer",    "authkey",    "cardnumber", "connectionstring", "csrf",          "xsrf" };
static const char *const last_part[] = { "pwd",  "pass", "auth", "sig", "ssn",  "cvv", "cvc",
                                         "cvv2", "pin",  "otp",  "sid", "iban", "pan" };

#define NAME_MAX_BYTES 96

static bool is_cut(u8 c) { return c == '.' || c == '_' || c == '-' || c == ' ' || c == '/'; }
static bool is_upper(u8 c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(u8 c) { return c >= 'a' && c <= 'z'; }

/* Lower case without cuts; *ret_part: where its last part begins. */
static size_t squeeze(struct slice name, char *out, size_t *ret_part)
{
    size_t n = 0;
    *ret_part = 0;
    for (size_t i = 0; i < name.n; i++) {
        u8 c = name.p[i];
        if (is_cut(c) || (i && is_upper(c) && is_lower(name.p[i - 1])))
            *ret_part = n;
        if (!is_cut(c))
            out[n++] = (char)(is_upper(c) ? c | 0x20 : c);
    }
    out[n] = 0;
    return n;
}

static bool ends_in(const char *s, size_t n, const char *word)
{
    size_t w = strlen(word);
    return n >= w && !memcmp(s + n - w, word, w);
}

bool redact_key(struct slice name)
{
    char text[NAME_MAX_BYTES + 1];
    size_t part, n;
    if (name.n < 3)
        return false;
    if (name.n > NAME_MAX_BYTES)
        name = slice_from(name, name.n - NAME_MAX_BYTES);
    n = squeeze(name, text, &part);
    for (size_t i = 0; i < ARRAY_LEN(at_end); i++)
        if (ends_in(text, n, at_end[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(last_part); i++)
        if (!strcmp(text + part, last_part[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(anywhere); i++)
        if (strstr(text, anywhere[i]))
            return true;
    return false;
}
