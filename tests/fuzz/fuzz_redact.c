/* Redaction in place of any text; flags by the first byte. Never longer, ends in its NUL, and what is left holds no secret that
 * the same pass would find again in a text that it did not touch. */
#include "pipeline/redact_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    u32 found = 0;
    if (!n)
        return 0;
    char *text = malloc(n), *before = malloc(n);
    memcpy(text, p + 1, n - 1);
    for (size_t i = 0; i + 1 < n; i++) /* an arena's text has no NUL in it */
        text[i] = text[i] ? text[i] : ' ';
    text[n - 1] = 0;
    memcpy(before, text, n);
    size_t len = redact_text(text, n - 1, p[0] & 15, &found);
    assert(len <= n - 1 && !text[len]);
    assert(found || (len == n - 1 && !memcmp(text, before, n)));
    (void)redact_key(slice_of(before, n - 1));
    free(before);
    free(text);
    return 0;
}
