/* JSON lines. jansson reads them into an arena of fixed size that is emptied after each line, so that a line costs no
 * allocation and can't ask for more than the arena holds: what is deeper or larger stays a text. */
#include "pipeline/logs_line.h"

#include <jansson.h>
#include <pthread.h>

#define ARENA     (256u << 10)
#define DEPTH_MAX 6
#define KEY_MAX   128

/* jansson's allocator is the process's: the arena serves the thread that is inside log_json_record, malloc the others. */
static __thread struct {
    u8 *room;
    size_t used;
    bool on;
} arena;

static void *arena_alloc(size_t n)
{
    if (!arena.on)
        return malloc(n);
    n = (n + 15) & ~(size_t)15;
    if (n > ARENA - arena.used)
        return NULL;
    void *p = arena.room + arena.used;
    arena.used += n;
    return p;
}

static void arena_free(void *p)
{
    bool ours = arena.room && (u8 *)p >= arena.room && (u8 *)p < arena.room + ARENA;
    if (!ours)
        free(p);
}

static void arena_install(void) { json_set_alloc_funcs(arena_alloc, arena_free); }

static bool arena_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, arena_install);
    if (!arena.room && !(arena.room = malloc(ARENA)))
        return false;
    arena.used = 0;
    arena.on = true;
    return true;
}

static struct slice text_of(const json_t *v)
{
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : slice_of(NULL, 0);
}

static const json_t *first_of(const json_t *o, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, names[i]);
        if (v)
            return v;
    }
    return NULL;
}

static const char *const message_keys[] = { "message", "msg", "event", "body", "log" };
static const char *const level_keys[] = { "level", "severity", "levelname", "lvl", "log.level", "severity_text", "loglevel" };
static const char *const time_keys[] = { "timestamp", "time", "ts", "@timestamp", "asctime", "datetime", "date" };
static const char *const trace_keys[] = { "trace_id", "traceId", "trace.id", "traceID", "otelTraceID" };
static const char *const span_keys[] = { "span_id", "spanId", "span.id", "spanID", "otelSpanID" };
static const char *const stack_keys[] = { "exc_info", "exception", "stack_trace", "stacktrace", "stack", "traceback" };

static bool is_one_of(const char *key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(key, names[i]))
            return true;
    }
    return false;
}

/* Pino and bunyan write numbers: 10 trace … 60 fatal. */
static u8 number_severity(s64 n)
{
    static const u8 tens[] = { 0, 1, 5, 9, 13, 17, 21 };
    return n >= 10 && n <= 60 && n % 10 == 0 ? tens[n / 10] : 0;
}

static void set_level(struct log_record *l, const json_t *v)
{
    if (json_is_string(v))
        log_set_severity(l, text_of(v));
    else if (json_is_integer(v))
        l->severity = number_severity(json_integer_value(v));
}

/* A text in a known form, or a number since 1970 in seconds, ms, µs or ns by its size. */
static void set_time(struct log_record *l, const json_t *v, u64 wall)
{
    u64 t;
    size_t used;
    if (json_is_string(v) && log_time(text_of(v), wall, &t, &used))
        l->time_ns = t;
    if (!json_is_number(v))
        return;
    double d = json_number_value(v);
    double ns = d < 1e11 ? d * 1e9 : d < 1e14 ? d * 1e6 : d < 1e17 ? d * 1e3 : d;
    if (d >= 1e8 && ns < 9e18) /* until the year 2255 */
        l->time_ns = (u64)ns;
}

/* Keys are the program's own, so they lie in the record's arena and die with it. */
static void add_value(struct log_record *l, const char *name, const json_t *v)
{
    const char *key = attr_text(&l->attrs, slice_str(name));
    if (!key)
        return;
    switch (json_typeof(v)) {
    case JSON_STRING:
        attr_str(&l->attrs, key, text_of(v));
        return;
    case JSON_INTEGER:
        attr_int(&l->attrs, key, json_integer_value(v));
        return;
    case JSON_REAL:
        attr_double(&l->attrs, key, json_real_value(v));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        attr_bool(&l->attrs, key, json_is_true(v));
        return;
    default:
        return;
    }
}

static void add_object(struct log_record *l, const json_t *o, const char *prefix, int depth);

static void add_member(struct log_record *l, const char *prefix, const char *key, const json_t *v, int depth)
{
    char name[KEY_MAX];
    if ((size_t)snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key) >= sizeof(name))
        return;
    if (json_is_object(v))
        add_object(l, v, name, depth + 1);
    else
        add_value(l, name, v);
}

static bool is_known(const char *key)
{
    return is_one_of(key, message_keys, ARRAY_LEN(message_keys)) || is_one_of(key, level_keys, ARRAY_LEN(level_keys)) ||
           is_one_of(key, time_keys, ARRAY_LEN(time_keys)) || is_one_of(key, trace_keys, ARRAY_LEN(trace_keys)) ||
           is_one_of(key, span_keys, ARRAY_LEN(span_keys));
}

static void add_object(struct log_record *l, const json_t *o, const char *prefix, int depth)
{
    const char *key;
    json_t *v;
    if (depth > DEPTH_MAX)
        return;
    json_object_foreach((json_t *)o, key, v)
    {
        if (*prefix || !is_known(key))
            add_member(l, prefix, key, v, depth);
    }
}

static void fill(struct log_record *l, const json_t *o, u64 wall)
{
    const json_t *v;
    if ((v = first_of(o, level_keys, ARRAY_LEN(level_keys))))
        set_level(l, v);
    if ((v = first_of(o, time_keys, ARRAY_LEN(time_keys))))
        set_time(l, v, wall);
    const json_t *trace = first_of(o, trace_keys, ARRAY_LEN(trace_keys)), *span = first_of(o, span_keys, ARRAY_LEN(span_keys));
    if (trace)
        (void)log_ids(l, text_of(trace), text_of(span));
    if ((v = first_of(o, stack_keys, ARRAY_LEN(stack_keys))) && json_is_string(v))
        log_exception(l, text_of(v));
    add_object(l, o, "", 0);
}

struct log_record *log_json_record(struct slice text, u64 wall)
{
    json_error_t error;
    struct log_record *l = NULL;
    if (!arena_begin())
        return NULL;
    json_t *o = json_loadb((const char *)text.p, text.n, 0, &error);
    if (json_is_object(o)) {
        const json_t *message = first_of(o, message_keys, ARRAY_LEN(message_keys));
        l = log_new(json_is_string(message) ? text_of(message) : text);
        if (l)
            fill(l, o, wall);
    }
    json_decref(o); /* walks the arena; nothing in it is given back */
    arena.on = false;
    return l;
}
