/* Names: units spelt out and put behind the name, «total» behind what only grows, and what Prometheus once did not allow
 * replaced by underscores. */
#include "export/prometheus.h"

#include <ctype.h>

static const struct unit {
    const char *ucum, *word;
} units[] = {
    { "d", "days" },          { "h", "hours" },        { "min", "minutes" },   { "s", "seconds" },      { "ms", "milliseconds" },
    { "us", "microseconds" }, { "ns", "nanoseconds" }, { "By", "bytes" },      { "KiBy", "kibibytes" }, { "MiBy", "mebibytes" },
    { "GiBy", "gibibytes" },  { "TiBy", "tibibytes" }, { "KBy", "kilobytes" }, { "MBy", "megabytes" },  { "GBy", "gigabytes" },
    { "TBy", "terabytes" },   { "m", "meters" },       { "V", "volts" },       { "A", "amperes" },      { "J", "joules" },
    { "W", "watts" },         { "g", "grams" },        { "Cel", "celsius" },   { "Hz", "hertz" },       { "%", "percent" },
};
static const struct unit per_units[] = {
    { "s", "second" }, { "m", "minute" }, { "min", "minute" }, { "h", "hour" },
    { "d", "day" },    { "w", "week" },   { "mo", "month" },   { "y", "year" },
};

static void unit_word(const struct unit *table, size_t n, struct slice unit, char *out, size_t size)
{
    out[0] = 0;
    if (slice_find(unit, '{') >= 0 || slice_eq(unit, "1")) /* an annotation is no unit */
        return;
    snprintf(out, size, "%.*s", (int)min_u64(unit.n, 40), (const char *)unit.p);
    for (size_t i = 0; i < n; i++)
        if (slice_eq(unit, table[i].ucum))
            snprintf(out, size, "%s", table[i].word);
    for (char *c = out; *c; c++)
        if (!isalnum((u8)*c))
            *c = '_';
}

void prometheus_unit(const char *unit, char *out, size_t size)
{
    char main_word[48], per_word[48] = "";
    const char *slash = strchr(unit, '/');
    unit_word(units, ARRAY_LEN(units), slash ? slice_of(unit, (size_t)(slash - unit)) : slice_str(unit), main_word,
              sizeof(main_word));
    if (slash && slash[1])
        unit_word(per_units, ARRAY_LEN(per_units), slice_str(slash + 1), per_word, sizeof(per_word));
    snprintf(out, size, "%s%s%s%s", main_word, per_word[0] && main_word[0] ? "_" : "", per_word[0] ? "per_" : "", per_word);
}

bool prometheus_is_legacy(const char *name, bool colon)
{
    if (!*name || isdigit((u8)*name))
        return false;
    for (; *name; name++)
        if (!(isalnum((u8)*name) && (u8)*name < 0x80) && *name != '_' && !(colon && *name == ':'))
            return false;
    return true;
}

static void escape(char *name, bool colon)
{
    char *out = name;
    for (const char *c = name; *c; c++) {
        bool fine = (isalnum((u8)*c) && (u8)*c < 0x80) || (colon && *c == ':');
        if (fine)
            *out++ = *c;
        else if (out == name || out[-1] != '_') /* one for a run */
            *out++ = '_';
    }
    *out = 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

static void append_word(char name[PROMETHEUS_NAME], char separator, const char *word)
{
    char tail[64];
    snprintf(tail, sizeof(tail), "%c%s", separator, word);
    if (*word && !ends_with(name, tail) && strlen(name) + strlen(tail) < PROMETHEUS_NAME)
        strcat(name, tail);
}

void prometheus_name(const struct metric *m, enum prometheus_translation how, bool utf8, char out[PROMETHEUS_NAME])
{
    char unit[96];
    bool escaped = !utf8 || how == TRANSLATE_ESCAPE || how == TRANSLATE_ESCAPE_SUFFIX;
    bool suffix = how == TRANSLATE_ESCAPE_SUFFIX || how == TRANSLATE_SUFFIX;
    snprintf(out, PROMETHEUS_NAME - 32, "%s", m->name);
    if (escaped)
        escape(out, true);
    if (isdigit((u8)out[0]) && escaped) {
        memmove(out + 1, out, strlen(out) + 1);
        out[0] = '_';
    }
    size_t n = strlen(out);
    if (m->kind == METRIC_SUM && m->monotonic && n > 6 && (ends_with(out, "_total") || ends_with(out, ".total")))
        out[n - 6] = 0; /* it comes back at the end */
    if (!suffix)
        return;
    prometheus_unit(m->unit, unit, sizeof(unit));
    append_word(out, '_', unit);
    if (m->kind == METRIC_GAUGE && !strcmp(m->unit, "1"))
        append_word(out, '_', "ratio");
    n = strlen(out);
    if (ends_with(out, "_count") && (m->kind == METRIC_GAUGE || (m->kind == METRIC_SUM && !m->monotonic)))
        memcpy(out + n - 6, "s", 2); /* _count belongs to histograms: process_thread_count is process_threads */
}

void prometheus_label(const char *key, bool escaped, char out[PROMETHEUS_NAME])
{
    snprintf(out, PROMETHEUS_NAME - 8, "%s", key);
    if (!escaped)
        return;
    escape(out, false);
    if (isdigit((u8)out[0]) || !out[0]) {
        memmove(out + 4, out, strlen(out) + 1);
        memcpy(out, "key_", 4);
    }
}
