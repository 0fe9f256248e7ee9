/* The host's side of the plug-in interface: checks at loading, and the functions that a plug-in reaches spans and log records
 * with. Opaque pointers are ours with another name. */
#include "trace/plugin_host.h"
#include "base/log.h"
#include "trace/signal.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>

static const struct span *span_in(const struct wft_span *s) { return (const struct span *)s; }
static struct span *span_out(struct wft_span *s) { return (struct span *)s; }
static const struct log_record *log_in(const struct wft_log *l) { return (const struct log_record *)l; }
static struct log_record *log_out(struct wft_log *l) { return (struct log_record *)l; }

static struct wft_text text(const char *s) { return (struct wft_text){ s ? s : "", s ? strlen(s) : 0 }; }

/* --- attributes --- */

static void value_give(const struct attr *a, struct wft_value *out)
{
    *out = (struct wft_value){ 0 };
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        out->type = WFT_STRING, out->s = (struct wft_text){ a->s, a->len };
        return;
    case ATTR_STRV:
        out->type = WFT_LIST, out->s = (struct wft_text){ a->s, a->len };
        return;
    case ATTR_INT:
        out->type = WFT_INT, out->i = a->i;
        return;
    case ATTR_DOUBLE:
        out->type = WFT_DOUBLE, out->d = a->d;
        return;
    case ATTR_BOOL:
        out->type = WFT_BOOL, out->b = a->b;
        return;
    }
}

static int attr_at(const struct attr_set *set, size_t i, struct wft_text *key, struct wft_value *out)
{
    if (i >= set->n)
        return 0;
    *key = text(set->v[i].key);
    value_give(&set->v[i], out);
    return 1;
}

static int attr_read(const struct attr_set *set, const char *key, struct wft_value *out)
{
    const struct attr *a = attr_get(set, key);
    if (a)
        value_give(a, out);
    return a != NULL;
}

static int attr_write(struct attr_set *set, const char *key, const struct wft_value *v)
{
    if (!*key)
        return 0;
    key = intern(key);
    switch (v->type) {
    case WFT_STRING:
        return attr_str(set, key, slice_of(v->s.p, v->s.n));
    case WFT_INT:
        return attr_int(set, key, v->i);
    case WFT_DOUBLE:
        return attr_double(set, key, v->d);
    case WFT_BOOL:
        return attr_bool(set, key, v->b != 0);
    }
    return 0;
}

static int attr_delete(struct attr_set *set, const char *key)
{
    for (u16 i = 0; i < set->n; i++) {
        if (strcmp(set->v[i].key, key))
            continue;
        memmove(&set->v[i], &set->v[i + 1], (size_t)(set->n - i - 1) * sizeof(set->v[0]));
        set->n--;
        return 1;
    }
    return 0;
}

/* --- spans --- */

static void span_ids(const struct wft_span *s, struct wft_ids *out)
{
    memcpy(out->trace_id, span_in(s)->id.trace_id, TRACE_ID_LEN);
    memcpy(out->span_id, span_in(s)->id.span_id, SPAN_ID_LEN);
    memcpy(out->parent_id, span_in(s)->parent_id, SPAN_ID_LEN);
    out->flags = span_in(s)->id.flags;
}

static struct wft_text span_name(const struct wft_span *s) { return text(span_in(s)->name); }
static struct wft_text span_service(const struct wft_span *s) { return text(resource_service(span_in(s)->resource)); }
static struct wft_text span_scope(const struct wft_span *s) { return text(span_in(s)->scope); }
static struct wft_text span_message(const struct wft_span *s) { return text(span_in(s)->status_message); }
static int span_kind(const struct wft_span *s) { return span_in(s)->kind; }
static int span_status(const struct wft_span *s) { return span_in(s)->status; }
static uint64_t span_start(const struct wft_span *s) { return span_in(s)->start_ns; }
static uint64_t span_end(const struct wft_span *s) { return span_in(s)->end_ns; }
static size_t span_attr_count(const struct wft_span *s) { return span_in(s)->attrs.n; }

static int span_attr_at(const struct wft_span *s, size_t i, struct wft_text *key, struct wft_value *out)
{
    return attr_at(&span_in(s)->attrs, i, key, out);
}

static int span_attr(const struct wft_span *s, const char *key, struct wft_value *out)
{
    return attr_read(&span_in(s)->attrs, key, out);
}

static int span_resource_attr(const struct wft_span *s, const char *key, struct wft_value *out)
{
    return span_in(s)->resource && attr_read(&span_in(s)->resource->attrs, key, out);
}

static int span_name_set(struct wft_span *s, struct wft_text name)
{
    const char *before = span_out(s)->name;
    span_set_name(span_out(s), slice_of(name.p, name.n));
    return span_out(s)->name != before || slice_eq(slice_of(name.p, name.n), before);
}

static int span_set_attr(struct wft_span *s, const char *key, const struct wft_value *v)
{
    return attr_write(&span_out(s)->attrs, key, v);
}

static int span_delete_attr(struct wft_span *s, const char *key) { return attr_delete(&span_out(s)->attrs, key); }

/* --- log records --- */

static void log_ids(const struct wft_log *l, struct wft_ids *out)
{
    *out = (struct wft_ids){ .flags = log_in(l)->context.flags };
    memcpy(out->trace_id, log_in(l)->context.trace_id, TRACE_ID_LEN);
    memcpy(out->span_id, log_in(l)->context.span_id, SPAN_ID_LEN);
}

static struct wft_text log_body(const struct wft_log *l) { return (struct wft_text){ log_in(l)->body, log_in(l)->body_len }; }
static struct wft_text log_service(const struct wft_log *l) { return text(resource_service(log_in(l)->resource)); }
static int log_severity(const struct wft_log *l) { return log_in(l)->severity; }
static size_t log_attr_count(const struct wft_log *l) { return log_in(l)->attrs.n; }

static uint64_t log_time(const struct wft_log *l) { return log_in(l)->time_ns ? log_in(l)->time_ns : log_in(l)->observed_ns; }

static int log_attr_at(const struct wft_log *l, size_t i, struct wft_text *key, struct wft_value *out)
{
    return attr_at(&log_in(l)->attrs, i, key, out);
}

static int log_attr(const struct wft_log *l, const char *key, struct wft_value *out)
{
    return attr_read(&log_in(l)->attrs, key, out);
}

static int log_set_attr(struct wft_log *l, const char *key, const struct wft_value *v)
{
    return attr_write(&log_out(l)->attrs, key, v);
}

static int log_delete_attr(struct wft_log *l, const char *key) { return attr_delete(&log_out(l)->attrs, key); }

static void say(int level, const char *line)
{
    if (level == WFT_LOG_ERROR)
        log_error("plugin", "%s", line);
    else if (level == WFT_LOG_WARN)
        log_warn("plugin", "%s", line);
    else
        log_info("plugin", "%s", line);
}

static const struct wft_host host = {
    .abi = WFT_ABI,
    .size = sizeof(host),
    .span_ids = span_ids,
    .span_name = span_name,
    .span_service = span_service,
    .span_scope = span_scope,
    .span_message = span_message,
    .span_kind = span_kind,
    .span_status = span_status,
    .span_start = span_start,
    .span_end = span_end,
    .span_attr_count = span_attr_count,
    .span_attr_at = span_attr_at,
    .span_attr = span_attr,
    .span_resource_attr = span_resource_attr,
    .span_set_name = span_name_set,
    .span_set_attr = span_set_attr,
    .span_delete_attr = span_delete_attr,
    .log_ids = log_ids,
    .log_body = log_body,
    .log_service = log_service,
    .log_severity = log_severity,
    .log_time = log_time,
    .log_attr_count = log_attr_count,
    .log_attr_at = log_attr_at,
    .log_attr = log_attr,
    .log_set_attr = log_set_attr,
    .log_delete_attr = log_delete_attr,
    .say = say,
};

/* --- loading --- */

#define SENTENCE(code, ...) (snprintf(err, err_size, __VA_ARGS__), code)

static int file_check(const char *file, char path[PATH_MAX], char *err, size_t err_size)
{
    struct stat st;
    if (!realpath(file, path) || stat(path, &st))
        return SENTENCE(-ENOENT, "plugin %s: %s", file, errno_name(errno));
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return SENTENCE(-EACCES, "plugin %s: others than its owner may write it; chmod go-w it", path);
    return 0;
}

/* The part of the struct that every version has stands first: abi, size. */
static int version_check(const char *file, const struct wft_plugin *p, char *err, size_t err_size)
{
    if (!p)
        return SENTENCE(-EPROTO, "plugin %s does not work with interface %d of this wftrace", file, WFT_ABI);
    if (p->abi != WFT_ABI)
        return SENTENCE(
            -EPROTO, "plugin %s was built for interface %u, this wftrace has %d; build it with this version's wftrace/plugin.h",
            file, p->abi, WFT_ABI);
    if (p->size < offsetof(struct wft_plugin, export_logs) + sizeof(p->export_logs) || !p->open || !p->close)
        return SENTENCE(-EINVAL, "plugin %s: its struct wft_plugin is not whole", file);
    return 0;
}

int plugin_open(const char *file, const char *config, struct plugin *ret, char *err, size_t err_size)
{
    char path[PATH_MAX], why[256] = "";
    const struct wft_plugin *(*entry)(uint32_t);
    int code = file_check(file, path, err, err_size);
    if (code)
        return code;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return SENTENCE(-EINVAL, "plugin %s: %s", file, dlerror());
    *(void **)&entry = dlsym(library, "wftrace_plugin");
    if (!entry) {
        dlclose(library);
        return SENTENCE(-EINVAL, "plugin %s is none: it has no function wftrace_plugin()", file);
    }
    struct plugin plugin = { .p = entry(WFT_ABI), .library = library };
    code = version_check(file, plugin.p, err, err_size);
    if (code) {
        dlclose(library);
        return code;
    }
    plugin.self = plugin.p->open(&host, config ? config : "", why, sizeof(why));
    if (!plugin.self) {
        snprintf(err, err_size, "plugin %s: %s", file, *why ? why : "its open() failed");
        dlclose(library);
        return -EIO;
    }
    *ret = plugin;
    return 0;
}

void plugin_close(struct plugin *p)
{
    if (p->self)
        p->p->close(p->self);
    p->self = NULL;
}
