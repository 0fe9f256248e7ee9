/* What a capture file says beside its records: into the header all that a replay needs to make the same spans, and back. */
#include "cli/agent_internal.h"
#include "workflow/packs.h"

#include <sys/utsname.h>

/* Redaction works on what is made of a capture, not on the capture: it must be kept like the data it was taken from. */
#define CAPTURE_CONTAINS                                                                                                         \
    "payload bytes as they passed, before any redaction: message heads and bodies, statements with their values, arguments, "    \
    "environment, log lines; may hold personal data and secrets"

static void header_number(struct wfcap_header *h, const char *key, const char *fmt, u64 v)
{
    char text[32];
    snprintf(text, sizeof(text), fmt, (unsigned long long)v);
    (void)wfcap_header_add(h, key, slice_str(text));
}

static void header_root(struct agent *a, struct wfcap_header *h)
{
    char text[56];
    if (!span_context_valid(&a->o.root))
        return;
    traceparent_format(&a->o.root, text);
    (void)wfcap_header_add(h, "root", slice_str(text));
    if (a->o.root_state)
        (void)wfcap_header_add(h, "root_state", slice_str(a->o.root_state));
}

static bool pack_in_force(const struct agent *a, const char *name)
{
    for (size_t i = 0; i < a->rules.n_packs; i++)
        if (!strcmp(a->rules.packs[i].name, name))
            return true;
    return false;
}

static int header_rule(struct wfcap_header *h, const char *name, struct slice text)
{
    char key[512];
    snprintf(key, sizeof(key), "rules:%s", name);
    for (char *eq = key; (eq = strchr(eq, '='));) /* '=' ends a key */
        *eq = '-';
    return wfcap_header_add(h, key, text);
}

static int header_rules(struct agent *a, struct wfcap_header *h)
{
    struct pack_text p;
    for (size_t i = 0; a->o.keep_pack && pack_builtin(i, &p); i++) {
        char key[80];
        snprintf(key, sizeof(key), "rules:pack:%s", p.name);
        int err = pack_in_force(a, p.name) ? wfcap_header_add(h, key, p.text) : 0;
        if (err)
            return err;
    }
    for (size_t i = 0; i < a->o.n_rule_texts; i++) {
        const struct rule_text *t = &a->o.rule_texts[i];
        int err = header_rule(h, t->name, slice_of(t->text, t->len));
        if (err)
            return err;
    }
    for (size_t i = 0; i < a->o.n_rule_files; i++) {
        cleanup(freep) char *text = NULL;
        size_t len = 0;
        int err = read_small_file(a->o.rule_files[i], WFCAP_HEADER_MAX, &text, &len);
        if (err)
            return err;
        err = header_rule(h, a->o.rule_files[i], slice_of(text, len));
        if (err)
            return err;
    }
    return 0;
}

static int header_fill(struct agent *a, struct wfcap_header *h)
{
    struct utsname u = { 0 };
    (void)uname(&u);
    (void)wfcap_header_add(h, "wftrace", slice_str(WF_VERSION));
    (void)wfcap_header_add(h, "host", slice_str(u.nodename));
    (void)wfcap_header_add(h, "kernel", slice_str(u.release));
    (void)wfcap_header_add(h, "arch", slice_str(u.machine));
    header_number(h, "seed0", "%llu", a->seed[0]);
    header_number(h, "seed1", "%llu", a->seed[1]);
    header_number(h, "wall_minus_boot", "%llu", (u64)a->wall_minus_boot);
    (void)wfcap_header_add(h, "contains", slice_str(CAPTURE_CONTAINS));
    (void)wfcap_header_add(h, "privacy", slice_str(a->o.keep_values ? "off" : "strict"));
    if (a->o.service)
        (void)wfcap_header_add(h, "service", slice_str(a->o.service));
    header_root(a, h);
    return header_rules(a, h);
}

int agent_capture_open(struct agent *a, char *err, size_t err_size)
{
    if (!a->o.capture)
        return 0;
    struct wfcap_header h = { 0 };
    int code = header_fill(a, &h);
    if (!code)
        code = wfcap_create(a->o.capture, wfcap_abi, &h, &a->capture);
    wfcap_header_done(&h);
    if (code)
        snprintf(err, err_size, "cannot write the capture file %s: %s", a->o.capture, errno_name(code));
    return code;
}

/* --- and back --- */

static char *header_string(struct slice text, const char *key)
{
    struct slice v = wfcap_header_get(text, key);
    return v.n ? strndup((const char *)v.p, v.n) : NULL;
}

static u64 header_u64(struct slice text, const char *key)
{
    u64 v = 0;
    (void)slice_u64(wfcap_header_get(text, key), &v);
    return v;
}

static int replay_rules(struct agent *a, struct slice text, char *err, size_t err_size)
{
    size_t at = 0;
    struct slice name, rules;
    while (wfcap_header_each(text, "rules:", &at, &name, &rules)) {
        char file[512];
        snprintf(file, sizeof(file), "%.*s", (int)min_u64(name.n, 500), (const char *)name.p);
        int code = rules_parse(&a->rules, file, (const char *)rules.p, rules.n, err, err_size);
        if (code)
            return code;
    }
    return 0;
}

/* The text lives as long as the reader; service and root_state are duplicated because they must end in NUL. They are as
 * long-lived as the process: a replay happens once in it. */
int agent_replay_header(struct agent *a, char *err, size_t err_size)
{
    struct slice text = wfcap_header_text(a->replay);
    a->seed[0] = header_u64(text, "seed0");
    a->seed[1] = header_u64(text, "seed1");
    a->wall_minus_boot = (s64)header_u64(text, "wall_minus_boot");
    if (!a->o.service)
        a->o.service = header_string(text, "service");
    if (!a->o.privacy_set)
        a->o.keep_values = slice_eq(wfcap_header_get(text, "privacy"), "off");
    struct slice root = wfcap_header_get(text, "root");
    if (root.n && !traceparent_parse(root, &a->o.root))
        a->o.root_state = header_string(text, "root_state");
    return replay_rules(a, text, err, err_size);
}

/* The book is filled in the order of its numbers, as it was live. */
void agent_replay_site(struct agent *a, const struct wfcap_site *s)
{
    if (!a->rules.sites || s->number != a->rules.sites->n || s->role > SITE_PANIC_CATCH)
        return;
    char function[WFCAP_SITE_TEXT + 1], file[WFCAP_SITE_TEXT + 1];
    snprintf(function, sizeof(function), "%.*s", (int)s->function.n, (const char *)s->function.p);
    snprintf(file, sizeof(file), "%.*s", (int)s->file.n, (const char *)s->file.p);
    struct site_row row = {
        .rule = s->rule, .role = (enum site_role)s->role, .function = intern(function), .file = intern(file)
    };
    (void)site_add(a->rules.sites, &row);
}
