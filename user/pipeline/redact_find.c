/* Detectors of things with a shape of their own: numbers with check digits, tokens with a known beginning, addresses. */
#include "pipeline/redact_find.h"
#include "pipeline/redact_scan.h"

#include <ctype.h>

static bool is_word(char c) { return isalnum((u8)c) || c == '_'; }
static bool is_token(char c) { return isalnum((u8)c) || c == '_' || c == '-'; }
static char at(const struct find *f, size_t i) { return i < f->n ? f->text[i] : 0; }

static size_t run_of(const struct find *f, size_t i, bool (*is)(char))
{
    size_t start = i;
    while (i < f->n && is(f->text[i]))
        i++;
    return i - start;
}

static struct slice rest_of(const struct find *f, size_t i) { return slice_of(f->text + i, f->n - i); }

/* --- cards (ISO/IEC 7812: issuer's first digits, length, Luhn's sum) --- */

static bool luhn(const u8 *d, size_t n)
{
    u32 sum = 0;
    for (size_t i = 0; i < n; i++) {
        u32 v = d[n - 1 - i];
        if (i & 1)
            v = 2 * v > 9 ? 2 * v - 9 : 2 * v;
        sum += v;
    }
    return sum % 10 == 0;
}

static bool is_card(const u8 *d, size_t n)
{
    u32 two = n > 1 ? d[0] * 10u + d[1] : 0;
    bool fits = d[0] == 4                             ? n == 13 || n == 16 || n == 19
                : (two >= 51 && two <= 55)            ? n == 16
                : (two >= 22 && two <= 27)            ? n == 16
                : two == 34 || two == 37              ? n == 15
                : two == 30 || two == 36 || two == 38 ? n == 14
                : two == 35                           ? n >= 16
                : d[0] == 6 || two == 50 || two >= 56 ? n >= 16 && d[0] <= 6
                                                      : false;
    return fits && n <= 19 && luhn(d, n);
}

bool find_card(struct find *f, size_t i)
{
    u8 d[20];
    size_t n = 0, end = i;
    for (size_t k = i; k < f->n && n < sizeof(d); k++) {
        char c = f->text[k];
        if (c >= '0' && c <= '9') {
            d[n++] = (u8)(c - '0');
            end = k + 1;
        } else if ((c != ' ' && c != '-') || end != k) { /* one separator at a time */
            break;
        }
    }
    for (; n >= 13; n--) { /* «4111111111111111 7»: the run may go on behind the number, but only over a separator */
        if (is_card(d, n) && !is_word(at(f, end)) && !(at(f, end) == '.' && isdigit((u8)at(f, end + 1))))
            return found(f, i, end, "[card]");
        do
            end--;
        while (end > i && !isdigit((u8)f->text[end - 1]));
        if (isdigit((u8)f->text[end]))
            break;
    }
    return false;
}

bool redact_card_number(u64 v)
{
    u8 d[20], n = 0;
    char text[24];
    if (v < 30000000000000ull && v < 4000000000000ull)
        return false;
    n = (u8)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
    if (n > 19)
        return false;
    for (u8 i = 0; i < n; i++)
        d[i] = (u8)(text[i] - '0');
    return is_card(d, n);
}

/* --- IBAN (ISO 13616: country, two check digits, mod 97) --- */

bool find_iban(struct find *f, size_t i)
{
    u32 sum = 0, n = 0;
    size_t k = i, end = i, best = 0;
    char c[36];
    if (!isupper((u8)at(f, i)) || !isupper((u8)at(f, i + 1)) || !isdigit((u8)at(f, i + 2)) || !isdigit((u8)at(f, i + 3)))
        return false;
    for (; k < f->n && n < 34; k++) {
        if (isdigit((u8)f->text[k]) || isupper((u8)f->text[k])) {
            c[n++] = f->text[k];
            end = k + 1;
        } else if (f->text[k] != ' ' || n % 4 || end != k) {
            break;
        }
        if (n < 15 || end != k + 1 || is_word(at(f, end)))
            continue;
        sum = 0;
        for (u32 j = 0; j < n; j++) { /* the first four characters come last */
            char x = c[(j + 4) % n];
            sum = isdigit((u8)x) ? (sum * 10 + (u32)(x - '0')) % 97 : (sum * 100 + (u32)(x - 'A' + 10)) % 97;
        }
        if (sum == 1)
            best = end;
    }
    return best && found(f, i, best, "[iban]");
}

/* --- tokens with a known beginning --- */

static const struct {
    const char *begin;
    u8 more; /* characters that follow at least */
} tokens[] = {
    { "sk-", 20 },
    { "sk_live_", 10 },
    { "sk_test_", 10 },
    { "rk_live_", 10 },
    { "rk_test_", 10 },
    { "pk_live_", 10 },
    { "whsec_", 16 },
    { "ghp_", 20 },
    { "gho_", 20 },
    { "ghu_", 20 },
    { "ghs_", 20 },
    { "ghr_", 20 },
    { "github_pat_", 20 },
    { "glpat-", 16 },
    { "gldt-", 16 },
    { "glrt-", 16 },
    { "xoxb-", 10 },
    { "xoxp-", 10 },
    { "xoxa-", 10 },
    { "xoxr-", 10 },
    { "xoxs-", 10 },
    { "xapp-", 10 },
    { "AKIA", 16 },
    { "ASIA", 16 },
    { "AIza", 30 },
    { "npm_", 30 },
    { "pypi-", 30 },
    { "hf_", 20 },
    { "dop_v1_", 20 },
    { "shpat_", 20 },
    { "shpss_", 20 },
    { "dckr_pat_", 16 },
    { "lin_api_", 20 },
    { "sq0atp-", 16 },
    { "sq0csp-", 16 },
    { "hvs.", 20 },
    { "hvb.", 20 },
    { "SG.", 20 },
    { "ya29.", 20 },
    { "dapi", 32 },
    { "AGE-SECRET-KEY-1", 20 },
    { "tfp_", 20 },
    { "rubygems_", 20 },
    { "glsa_", 20 },
    { "NRAK-", 20 },
    { "sntrys_", 20 },
    { "key-", 32 },
};
static const char *const header_words[] = { "bearer", "basic", "apikey" };
static const char *const sql_words[] = { "select", "insert", "update", "delete", "merge", "replace", "with", "call", "exec" };

static void begin_add(u8 table[65536], const char *word, bool any_case, u8 flag)
{
    u8 a = (u8)word[0], b = (u8)word[1];
    for (u32 i = 0; i < (any_case ? 4u : 1u); i++)
        table[(i & 1 ? toupper(a) : a) << 8 | (i & 2 ? toupper(b) : b)] |= flag;
}

void find_beginnings(u8 table[65536])
{
    begin_add(table, "ey", false, BEGIN_TOKEN);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        begin_add(table, tokens[i].begin, false, BEGIN_TOKEN);
    for (size_t i = 0; i < ARRAY_LEN(header_words); i++)
        begin_add(table, header_words[i], true, BEGIN_HEADER);
    for (size_t i = 0; i < ARRAY_LEN(sql_words); i++)
        begin_add(table, sql_words[i], true, BEGIN_SQL);
    for (u32 a = 'A'; a <= 'Z'; a++)
        for (u32 b = 'A'; b <= 'Z'; b++)
            table[a << 8 | b] |= BEGIN_IBAN;
}

static bool find_jwt(struct find *f, size_t i)
{
    size_t head = run_of(f, i, is_token);
    if (head < 10 || at(f, i + head) != '.')
        return false;
    size_t end = i + head + 1, body = run_of(f, end, is_token);
    if (body < 4)
        return false;
    for (end += body; at(f, end) == '.';)
        end += 1 + run_of(f, end + 1, is_token);
    return found(f, i, end, "[jwt]");
}

static bool is_key(char c) { return is_token(c) || c == '.' || c == '+' || c == '/' || c == '='; }

bool find_token(struct find *f, size_t i)
{
    struct slice rest = rest_of(f, i);
    if (slice_starts(rest, "eyJ") && find_jwt(f, i))
        return true;
    for (size_t t = 0; t < ARRAY_LEN(tokens); t++) {
        if (tokens[t].begin[0] != f->text[i] || tokens[t].begin[1] != at(f, i + 1) || !slice_starts(rest, tokens[t].begin))
            continue;
        size_t n = strlen(tokens[t].begin), more = run_of(f, i + n, is_token);
        if (more >= tokens[t].more)
            return found(f, i, i + n + run_of(f, i + n, is_key), "[key]");
    }
    return false;
}

/* --- credentials of a header --- */

static int base64_value(char c)
{
    if (isalpha((u8)c))
        return isupper((u8)c) ? c - 'A' : c - 'a' + 26;
    if (isdigit((u8)c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Does it decode to user:password, printable? */
static bool is_basic(const char *p, size_t n)
{
    u32 bits = 0, have = 0;
    bool colon = false;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(p[i]);
        if (v < 0)
            break;
        bits = bits << 6 | (u32)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        u8 c = (u8)(bits >> have);
        if (c < 0x20)
            return false;
        colon |= c == ':';
    }
    return colon;
}

static bool has_digit_or_sign(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalpha((u8)p[i]))
            return true;
    return false;
}

bool find_header(struct find *f, size_t i)
{
    struct slice rest = rest_of(f, i);
    bool bearer = slice_istarts(rest, "bearer "), basic = !bearer && slice_istarts(rest, "basic ");
    if (!bearer && !basic && !slice_istarts(rest, "apikey "))
        return false;
    size_t start = i + (basic ? 6 : 7);
    while (at(f, start) == ' ')
        start++;
    size_t n = run_of(f, start, is_key);
    const char *p = f->text + start;
    if (basic ? n < 4 || !is_basic(p, n) : n < 8 || (n < 20 && !has_digit_or_sign(p, n)))
        return false;
    return found(f, start, start + n, "[redacted]");
}

/* --- addresses --- */

/* RFC 5322 allows more (/ ? & = {), which stands between fields of paths and queries far more often. */
static bool is_local(char c) { return is_token(c) || (c && strchr(".%+'!#*^~", c)); }

bool find_email(struct find *f, size_t i)
{
    size_t start = i, end = i + 1, label = 0, letters = 0;
    bool dot = false;
    while (start > f->from && i - start < 64 && is_local(f->text[start - 1]))
        start--;
    while (start < i && !isalnum((u8)f->text[start]) && f->text[start] != '_')
        start++;
    for (; end < f->n && (isalnum((u8)f->text[end]) || f->text[end] == '-' || (f->text[end] == '.' && label)); end++) {
        bool cut = f->text[end] == '.';
        if (cut && !isalnum((u8)at(f, end + 1)))
            break;
        dot |= cut;
        label = cut ? 0 : label + 1;
        letters = cut ? 0 : letters + (isalpha((u8)f->text[end]) != 0);
    }
    return start < i && dot && letters >= 2 && letters == label && found(f, start, end, "[email]");
}

/* «://» at i: everything before the last @ of the authority. */
bool find_url(struct find *f, size_t i)
{
    size_t at_sign = 0, k = i + 3;
    if (at(f, i + 1) != '/' || at(f, i + 2) != '/')
        return false;
    for (; k < f->n && !strchr("/?# \t\r\n\"'<>\\", f->text[k]); k++)
        if (f->text[k] == '@')
            at_sign = k;
    return at_sign > i + 3 && found(f, i + 3, at_sign, "REDACTED");
}

/* A private key in PEM: up to its end, or to the text's. */
bool find_pem(struct find *f, size_t i)
{
    struct slice rest = rest_of(f, i);
    if (!slice_starts(rest, "-----BEGIN "))
        return false;
    const char *key = memmem(rest.p, min_u64(rest.n, 64), "PRIVATE KEY", 11);
    if (!key)
        return false;
    const char *end = memmem(key, rest.n - (size_t)(key - (const char *)rest.p), "-----END", 8);
    const char *last = end ? memmem(end + 8, f->n - (size_t)(end + 8 - f->text), "-----", 5) : NULL;
    return found(f, i, last ? (size_t)(last + 5 - f->text) : f->n, "[key]");
}
