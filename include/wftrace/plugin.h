/* wftrace plug-ins: processors and exporters of your own, as shared objects.
 *
 *     cc -shared -fPIC -I include -o slow.so slow.c
 *     wftrace run --plugin ./slow.so=config -- …          a processor: before the built-in redaction
 *     wftrace run --export plugin:./csv.so,config -- …    an exporter
 *
 * A shared object has one function, wftrace_plugin(), that gives its struct wft_plugin. wftrace loads it only when `abi` is its
 * own WFT_ABI; within one WFT_ABI structs only grow at their end, and `size` says how far the other side's goes.
 *
 * What a plug-in is given (struct wft_span, struct wft_log) is opaque: read and written through the functions of struct
 * wft_host, and gone when the call returns. Text is UTF-8, not NUL-terminated by right, and lives as long as the call or until
 * the same field is written. Times are ns since 1970, UTC.
 *
 * Threads: on_span() and on_log() run on the thread that does all the work, for every span: be quick, never wait. export_spans()
 * and export_logs() run on a thread of their own, one for each signal (then each has its own open()), and may wait.
 *
 * A plug-in runs inside wftrace with all its rights: load only what you would run as root. wftrace refuses a file that others
 * may write. This header is the whole interface; it needs nothing but the C library. */
#ifndef WFTRACE_PLUGIN_H
#define WFTRACE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifndef WFT_ABI
#define WFT_ABI 1
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct wft_span;
struct wft_log;

struct wft_text {
    const char *p;
    size_t n;
};
enum wft_type { WFT_STRING, WFT_INT, WFT_DOUBLE, WFT_BOOL, WFT_LIST /* of strings, read only: each ends with a NUL */ };
struct wft_value {
    int32_t type;      /* enum wft_type */
    int32_t b;         /* WFT_BOOL */
    int64_t i;         /* WFT_INT */
    double d;          /* WFT_DOUBLE */
    struct wft_text s; /* WFT_STRING, WFT_LIST */
};
struct wft_ids {
    uint8_t trace_id[16], span_id[8], parent_id[8]; /* all zero: none */
    uint8_t flags;                                  /* W3C: 1 = sampled */
};
enum wft_kind { WFT_INTERNAL = 1, WFT_SERVER, WFT_CLIENT, WFT_PRODUCER, WFT_CONSUMER };
enum wft_status { WFT_UNSET, WFT_STATUS_OK, WFT_ERROR };
enum wft_level { WFT_LOG_ERROR, WFT_LOG_WARN, WFT_LOG_INFO };

/* What wftrace can do for a plug-in. Functions that give an int give 1 for yes, 0 for no (absent, no room). */
struct wft_host {
    uint32_t abi, size;
    /* spans */
    void (*span_ids)(const struct wft_span *s, struct wft_ids *out);
    struct wft_text (*span_name)(const struct wft_span *s);
    struct wft_text (*span_service)(const struct wft_span *s); /* service.name */
    struct wft_text (*span_scope)(const struct wft_span *s);   /* what made it: "http1", "postgres", a rule's pack */
    struct wft_text (*span_message)(const struct wft_span *s); /* of its status; empty when none */
    int (*span_kind)(const struct wft_span *s);
    int (*span_status)(const struct wft_span *s);
    uint64_t (*span_start)(const struct wft_span *s);
    uint64_t (*span_end)(const struct wft_span *s);
    size_t (*span_attr_count)(const struct wft_span *s);
    int (*span_attr_at)(const struct wft_span *s, size_t i, struct wft_text *key, struct wft_value *out);
    int (*span_attr)(const struct wft_span *s, const char *key, struct wft_value *out);
    int (*span_resource_attr)(const struct wft_span *s, const char *key, struct wft_value *out);
    int (*span_set_name)(struct wft_span *s, struct wft_text name);
    int (*span_set_attr)(struct wft_span *s, const char *key, const struct wft_value *v); /* no WFT_LIST */
    int (*span_delete_attr)(struct wft_span *s, const char *key);
    /* log records */
    void (*log_ids)(const struct wft_log *l, struct wft_ids *out);
    struct wft_text (*log_body)(const struct wft_log *l);
    struct wft_text (*log_service)(const struct wft_log *l);
    int (*log_severity)(const struct wft_log *l); /* SeverityNumber 1 … 24; 0: not known */
    uint64_t (*log_time)(const struct wft_log *l);
    size_t (*log_attr_count)(const struct wft_log *l);
    int (*log_attr_at)(const struct wft_log *l, size_t i, struct wft_text *key, struct wft_value *out);
    int (*log_attr)(const struct wft_log *l, const char *key, struct wft_value *out);
    int (*log_set_attr)(struct wft_log *l, const char *key, const struct wft_value *v);
    int (*log_delete_attr)(struct wft_log *l, const char *key);
    /* a line in wftrace's own log */
    void (*say)(int level, const char *text);
};

enum wft_fate { WFT_KEEP, WFT_DROP };
enum wft_result { WFT_DELIVERED, WFT_RETRY /* later, all of them */, WFT_REFUSED /* for good */ };

/* NULL where there is nothing to do; open and close are always there. */
struct wft_plugin {
    uint32_t abi, size; /* WFT_ABI, sizeof(struct wft_plugin) */
    const char *name;
    const char *version;
    /* `host` lives as long as the process; `config` is the user's text, "" when none. NULL: a sentence in err. */
    void *(*open)(const struct wft_host *host, const char *config, char *err, size_t err_size);
    void (*close)(void *self);
    /* a processor: enum wft_fate */
    int (*on_span)(void *self, struct wft_span *s);
    int (*on_log)(void *self, struct wft_log *l);
    /* an exporter: enum wft_result; with WFT_RETRY and WFT_REFUSED a short reason in why */
    int (*export_spans)(void *self, const struct wft_span *const *v, size_t n, char *why, size_t why_size);
    int (*export_logs)(void *self, const struct wft_log *const *v, size_t n, char *why, size_t why_size);
};

/* The one symbol of a plug-in. `host_abi` is the WFT_ABI of the wftrace that loads it; give NULL when that will not do. */
__attribute__((visibility("default"))) const struct wft_plugin *wftrace_plugin(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif
