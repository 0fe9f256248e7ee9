/* exec: rules: pure functions over one process, called by trace/ for its process spans. */
#include "ingest/event.h"
#include "workflow/internal.h"

#include <fnmatch.h>
#include <signal.h>
#include <sys/wait.h>

/* The n-th of NUL-separated arguments; false past the end. */
static bool argument(struct slice args, u32 n, struct slice *ret)
{
    while (args.n) {
        ptrdiff_t nul = slice_find(args, 0);
        struct slice one = nul < 0 ? args : slice_head(args, (size_t)nul);
        if (!n--) {
            *ret = one;
            return true;
        }
        args = slice_from(args, one.n + 1);
    }
    return false;
}

/* All arguments with blanks between them, cut to the buffer. */
static struct slice joined(struct slice args, char *out, size_t size)
{
    size_t n = min_u64(args.n, size);
    memcpy(out, args.p, n);
    while (n && !out[n - 1])
        n--;
    for (size_t i = 0; i < n; i++)
        if (!out[i])
            out[i] = ' ';
    return slice_of(out, n);
}

static bool exec_text(const struct source *s, struct slice args, struct slice procinfo, char *buffer, size_t size,
                      struct slice *ret)
{
    char key[256];
    switch (s->root) {
    case SOURCE_ARGS:
        *ret = args.n ? joined(args, buffer, size) : slice_of("", 0);
        return true;
    case SOURCE_ARGV:
        return argument(args, s->arg, ret);
    case SOURCE_ENV:
        snprintf(key, sizeof(key), "env.%s", s->text);
        *ret = procinfo_get(procinfo, key);
        return ret->n > 0;
    default:
        return false;
    }
}

static bool glob_matches(const char *glob, struct slice exe)
{
    char path[512];
    if (exe.n >= sizeof(path))
        return false;
    memcpy(path, exe.p, exe.n);
    path[exe.n] = 0;
    const char *slash = strrchr(path, '/');
    return !fnmatch(glob, path, 0) || (!strchr(glob, '/') && slash && !fnmatch(glob, slash + 1, 0));
}

static bool when_holds(const struct rule *r, struct slice args)
{
    char buffer[1024];
    for (u8 i = 0; i < r->n_when; i++) {
        struct slice text;
        if (!exec_text(&r->when[i].left, args, slice_of("", 0), buffer, sizeof(buffer), &text) ||
            !condition_holds(&r->when[i], 0, text))
            return false;
    }
    return true;
}

const struct rule *workflow_exec_rule(const struct rules *r, struct slice exe, struct slice args)
{
    for (size_t i = 0; r && exe.n && i < r->n; i++)
        if (r->v[i].at == AT_EXEC && glob_matches(r->v[i].object, exe) && when_holds(&r->v[i], args))
            return &r->v[i];
    return NULL;
}

void workflow_exec_begin(const struct rule *rule, struct slice args, struct slice procinfo, struct span *s)
{
    char buffer[1024];
    attr_str(&s->attrs, ACTIVITY_TYPE, slice_str(rule->type));
    if (rule->kind)
        s->kind = rule->kind;
    for (u8 i = 0; i < rule->n_attrs; i++) {
        const struct rule_attr *a = &rule->attrs[i];
        struct slice text;
        if (a->from.root == SOURCE_CONST && !a->from.text)
            attr_int(&s->attrs, a->key, a->from.number);
        else if (a->from.root == SOURCE_CONST)
            attr_str(&s->attrs, a->key, slice_str(a->from.text));
        else if (exec_text(&a->from, args, procinfo, buffer, sizeof(buffer), &text))
            attr_str(&s->attrs, a->key, text);
    }
    describe_name(rule, s);
}

static const char *signal_word(int sig, char *out, size_t size)
{
    const char *name = sigabbrev_np(sig);
    if (name)
        snprintf(out, size, "SIG%s", name);
    else
        snprintf(out, size, "signal %d", sig);
    return out;
}

static bool exec_fails(const struct rule_condition *c, int code, int sig, struct span *s)
{
    char word[32], message[64];
    s64 value = c->left.root == SOURCE_SIGNAL ? sig : code;
    if (c->left.root != SOURCE_ATTR && c->left.root != SOURCE_SIGNAL && c->left.root != SOURCE_EXIT)
        return false;
    if (c->left.root == SOURCE_ATTR) {
        const struct attr *a = attr_get(&s->attrs, c->left.text);
        bool text = a && a->type == ATTR_STR;
        if (!a || (text != (c->text != NULL)) ||
            !condition_holds(c, text ? 0 : a->i, text ? slice_of(a->s, a->len) : slice_of("", 0)))
            return false;
    } else if (!condition_holds(c, value, slice_of("", 0))) {
        return false;
    }
    if (sig)
        snprintf(message, sizeof(message), "killed by %s", signal_word(sig, word, sizeof(word)));
    else {
        snprintf(word, sizeof(word), "%d", code);
        snprintf(message, sizeof(message), "exit status %d", code);
    }
    span_set_error(s, slice_str(message));
    attr_str(&s->attrs, "error.type", slice_str(word));
    return true;
}

void workflow_exec_end(const struct rule *rule, u32 status, struct span *s)
{
    int sig = WTERMSIG((int)status), code = sig ? 128 + sig : WEXITSTATUS((int)status);
    char word[32];
    for (u8 i = 0; i < rule->n_attrs; i++) {
        const struct rule_attr *a = &rule->attrs[i];
        if (a->from.root == SOURCE_EXIT)
            attr_int(&s->attrs, a->key, code);
        else if (a->from.root == SOURCE_SIGNAL && sig)
            attr_str(&s->attrs, a->key, slice_str(signal_word(sig, word, sizeof(word))));
    }
    bool failed = false;
    for (u8 i = 0; i < rule->n_errors && !failed; i++)
        failed = exec_fails(&rule->errors[i], code, sig, s);
    if (rule->error_given && !failed)
        s->status = STATUS_UNSET;
    describe_name(rule, s);
}

static const void *hook_match(const void *rules, struct slice exe, struct slice args)
{
    return workflow_exec_rule(rules, exe, args);
}
static void hook_begin(const void *rule, struct slice args, struct slice procinfo, struct span *s)
{
    workflow_exec_begin(rule, args, procinfo, s);
}
static void hook_end(const void *rule, u32 status, struct span *s) { workflow_exec_end(rule, status, s); }

struct exec_hooks workflow_exec_hooks(const struct rules *rules)
{
    for (size_t i = 0; rules && i < rules->n; i++)
        if (rules->v[i].at == AT_EXEC)
            return (struct exec_hooks){ .arg = rules, .match = hook_match, .begin = hook_begin, .end = hook_end };
    return (struct exec_hooks){ 0 };
}
