/* The span: what every stage after trace/ speaks. OTLP data model, semantic conventions' names.
 *
 * A span costs what it holds: some room of its own, which is enough for most, and beyond that areas of a few sizes that it takes
 * one after the other, up to SPAN_MOST bytes in all. Spans and areas come from pools and go back to them; nothing is allocated
 * per attribute. What does not fit is left out and counted on the span (dropped_*_count, as OTLP wants) and in the ledger. */
#ifndef WF_TRACE_SPAN_H
#define WF_TRACE_SPAN_H

#include "base/base.h"

#define TRACE_ID_LEN 16
#define SPAN_ID_LEN  8

struct span_context {
    u8 trace_id[TRACE_ID_LEN]; /* all zero: invalid */
    u8 span_id[SPAN_ID_LEN];
    u8 flags; /* W3C trace flags: 1 = sampled */
};
static inline bool span_context_valid(const struct span_context *c)
{
    static const u8 zero[TRACE_ID_LEN];
    return memcmp(c->trace_id, zero, TRACE_ID_LEN) && memcmp(c->span_id, zero, SPAN_ID_LEN);
}

enum attr_type { ATTR_STR, ATTR_INT, ATTR_DOUBLE, ATTR_BOOL, ATTR_STRV };

/* One attribute. `key` outlives the process (a literal or interned by intern()); text lies in the owner's arena.
 * ATTR_STRV: `len` bytes of NUL-terminated strings back to back. */
struct attr {
    const char *key;
    u16 type; /* enum attr_type */
    u16 len;  /* text bytes, without a NUL */
    union {
        s64 i;
        double d;
        bool b;
        const char *s; /* also NUL-terminated */
    };
};

/* A bounded set of attributes over a bounded arena: used by messages (protocol/), spans and resources. A span's takes another
 * array and another arena when they are full; the old ones stay as they are until the span is given back. */
struct attr_set {
    struct attr *v;
    char *text;
    u16 n, max;
    u16 used, text_max;
    u16 dropped;
    bool grows; /* it is a span's */
};
/* Setting a key again replaces it. All copy. false: no room (counted in `dropped`). A pointer to an attribute is good until the
 * next one is set. */
bool attr_str(struct attr_set *set, const char *key, struct slice value); /* invalid UTF-8 is replaced by U+FFFD */
bool attr_int(struct attr_set *set, const char *key, s64 value);
bool attr_double(struct attr_set *set, const char *key, double value);
bool attr_bool(struct attr_set *set, const char *key, bool value);
bool attr_strv(struct attr_set *set, const char *key, const struct slice *values, size_t n);
const struct attr *attr_get(const struct attr_set *set, const char *key); /* NULL when absent */
void attr_drop(struct attr_set *set, const char *key);
void attr_set_copy(struct attr_set *to, const struct attr_set *from); /* adds all of from */
char *attr_text(struct attr_set *set, struct slice s);                /* s copied into the arena, NUL-terminated; NULL: no room */
char *attr_text_cut(struct attr_set *set, struct slice s, size_t max); /* as attr_text, but keeps what fits in `max` bytes */
const char *intern(const char *key); /* one copy for the process's life; thread-safe; shared name past 65,536 keys */

/* What produced a span: OTLP resource. Counted reference, immutable once shared. */
struct resource {
    int refs; /* atomic */
    u64 id;   /* for grouping; unique in this process's life */
    struct attr_set attrs;
    struct attr attr_v[48];
    char text_v[4096];
};
struct resource *resource_new(void);                    /* NULL: the ceiling is reached (counted) or no memory */
void resource_pool_limit(u32 max);                      /* live ones; default: no limit */
struct resource *resource_ref(struct resource *r);      /* NULL is fine */
struct resource *resource_unref(struct resource *r);    /* returns NULL; NULL is fine */
const char *resource_service(const struct resource *r); /* service.name, or "unknown_service" */

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3, SPAN_PRODUCER = 4, SPAN_CONSUMER = 5 };
enum span_status { STATUS_UNSET = 0, STATUS_OK = 1, STATUS_ERROR = 2 };

/* How a span's parent became known (attribute wftrace.parent.by), best evidence first. */
enum join {
    JOIN_ROOT,    /* no parent: it starts a trace */
    JOIN_WIRE,    /* traceparent in the message */
    JOIN_ENV,     /* TRACEPARENT in the environment */
    JOIN_ENGINE,  /* the engine's own ids */
    JOIN_UNIT,    /* top of its unit's stack: thread, context, greenlet */
    JOIN_EDGE,    /* inherited over unit creation or hand-over */
    JOIN_ANSWER,  /* closure by answer */
    JOIN_SOCKET,  /* the two ends of one connection, both traced */
    JOIN_PROCESS, /* the process's own span, or its parent process's */
    JOIN_UNKNOWN, /* a parent surely exists; it could not be told */
    JOIN_MAX,
};
extern const char *const join_name[JOIN_MAX];

#define SPAN_ATTRS       64
#define SPAN_EVENTS      4
#define SPAN_EVENT_ATTRS 6
#define SPAN_LINKS       4
#define SPAN_TEXT        4096 /* of one text at most, with its NUL */
#define TRACESTATE_ROOM  128
#define SPAN_ROOM        560

struct span_event {
    const char *name; /* static or in the span's arena */
    u64 time_ns;
    struct attr attrs[SPAN_EVENT_ATTRS];
    u8 n_attrs;
};
/* Points in time of which there may be many, each with a size: events that share their name. */
struct span_mark {
    u64 time_ns;
    u32 size;
};
struct span_marks {
    const char *name, *key; /* of the event, of the attribute with the size; static */
    u16 n, max;
    u32 dropped; /* those beyond `max` */
    struct span_mark at[];
};
struct span_marks *span_marks_new(const char *name, const char *key, u16 max); /* NULL: no memory; free() gives it back */
void span_mark(struct span_marks *m, u64 time, u32 size);                      /* beyond its bound it is counted */

struct span_link {
    struct span_context to;
    const char *why; /* static; attribute wftrace.link.by */
};

struct span {
    int refs; /* atomic */
    u8 kind, status, join;
    bool remote_parent; /* the parent is in another process (OTLP flag bits 8, 9) */
    struct span_context id;
    u8 parent_id[SPAN_ID_LEN]; /* zero: root */
    u8 n_events, dropped_events, n_links, dropped_links;
    u64 start_ns, end_ns;       /* wall clock, ns since 1970; end 0 while it runs */
    const char *name;           /* never NULL once started */
    const char *status_message; /* or NULL */
    const char *scope;          /* what made it: "http1", "postgres", "process", a rule's pack; static or interned */
    const char *tracestate;     /* "" when none */
    struct resource *resource;
    u32 tgid, tid;
    u32 rule;                 /* number of the rule that made it + 1 (rule_metrics of config/rules.h), 0 none */
    u32 bytes;                /* of it and its areas; span.c's */
    u64 pipeline_note;        /* private to pipeline/, from started() to ended() */
    struct span_marks *marks; /* owned, wall clock; or NULL. They are events after those of `events` */
    struct attr_set attrs;
    struct span_event *events;
    struct span_link *links;
    struct span_area *areas; /* newest first; span.c's */
    struct span *next;       /* whoever alone holds it, in a list */
    char room[SPAN_ROOM] __attribute__((aligned(8)));
};
#define SPAN_LEAST sizeof(struct span)
#define SPAN_MOST  (SPAN_LEAST + 7680 + 4 * 16)
struct span *span_new(void); /* refs = 1, zeroed; NULL when the pool's ceiling is reached */
struct span *span_ref(struct span *s);
struct span *span_unref(struct span *s); /* returns NULL; NULL is fine; drops the resource too */
/* Ceiling of all spans together; default 256 MB. Beyond it none begins, and those that have grow into a sixteenth more. */
void span_pool_limit(u64 bytes);
u64 span_pool_bytes(void);
/* How many attributes a fresh span will have: saves it a second array. More or less is fine. */
void span_expect(struct span *s, size_t attrs);
void span_set_name(struct span *s, struct slice name);
void span_set_tracestate(struct span *s, const char *state); /* cut to TRACESTATE_ROOM; as it was when there is no room */
void span_set_error(struct span *s, struct slice message);   /* status ERROR; empty message: none */
/* An `exception` event by the conventions: type, message, stack trace (empty slices are left out). */
void span_add_exception(struct span *s, u64 time_ns, struct slice type, struct slice message, struct slice stacktrace);
void span_set_marks(struct span *s, struct span_marks *marks); /* once; taken, and given back if there is no room */
/* All events of a span, those made of its marks too. */
u32 span_event_count(const struct span *s);
u32 span_event_dropped(const struct span *s);
const struct span_event *span_event_at(const struct span *s, u32 i, struct span_event *room); /* `room`: where it may be made */
bool span_add_link(struct span *s, const struct span_context *to, const char *why);

void hex_encode(const u8 *in, size_t n, char *out); /* 2n characters and a NUL */
int hex_decode(const char *in, size_t n, u8 *out);  /* n characters, lower or upper case; -EINVAL */

/* Where finished (and begun) spans go. One implementation per consumer: pipeline, test, replay. */
struct span_sink {
    void (*started)(struct span_sink *sink, struct span *s); /* may be NULL; borrowed */
    void (*ended)(struct span_sink *sink, struct span *s);   /* takes the caller's reference */
    void (*dropped)(struct span_sink *sink, struct span *s); /* may be NULL; borrowed: begun, and will not be handed on */
};

#endif
