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

static struct slice last_part(struct slice path)
{
    for (size_t i = path.n; i > 0; i--)
        if (path.p[i - 1] == '/')
            return slice_from(path, i);
    return path;
}

static bool is_shell(struct slice program)
{
    static const char *const shells[] = { "sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "busybox" };
    if (program.n && program.p[0] == '-') /* a login shell */
        program = slice_from(program, 1);
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (slice_eq(program, shells[i]))
            return true;
    return false;
}

/* First word of a command line that is no assignment: NAME=value. */
static struct slice first_word(struct slice line)
{
    for (size_t at = 0; at < line.n;) {
        size_t from, to;
        for (from = at; from < line.n && strchr(" \t\n({@", line.p[from]) && line.p[from];)
            from++;
        for (to = from; to < line.n && !strchr(" \t\n;|&<>()", line.p[to]);)
            to++;
        struct slice word = slice_of(line.p + from, to - from);
        if (slice_find(word, '=') < 0)
            return last_part(word);
        at = to;
    }
    return slice_of("", 0);
}

/* Words of the shell itself tell nothing of what is run. */
static struct slice program_of(struct slice line)
{
    static const char *const own[] = { "for",  "if",     "while", "until",  "case",  "set", "cd",   "export",
                                       ".",    "source", "exec",  "eval",   "[",     "[[",  "test", ":",
                                       "trap", "true",   "false", "ulimit", "umask", "!",   "read", "echo" };
    struct slice word = first_word(line);
    while (slice_eq(word, "cd") || slice_eq(word, "set") || slice_eq(word, "export")) {
        size_t end = 0;
        while (end < line.n && line.p[end] != ';' && line.p[end] != '&' && line.p[end] != '\n')
            end++;
        if (end == line.n)
            return slice_of("", 0);
        line = slice_from(line, end + 1);
        line = line.n && line.p[0] == '&' ? slice_from(line, 1) : line;
        word = first_word(line);
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (slice_eq(word, own[i]) || (word.n && strchr("$\"'`#", word.p[0])))
            return slice_of("", 0);
    return word;
}

/* The script that a shell was given, or, unless `script_only`, the program that its command line begins with. Options that take a
 * value (`-o pipefail`, `--rcfile F`) have it in the next argument. */
static struct slice shell_runs(struct slice args, bool script_only)
{
    struct slice one;
    for (u32 i = 1; argument(args, i, &one); i++) {
        bool option = one.n > 1 && (one.p[0] == '-' || one.p[0] == '+'), shorts = option && one.p[1] != '-';
        if (!option)
            return last_part(one);
        if (shorts && slice_find(one, 'c') > 0) {
            while (argument(args, ++i, &one) && one.n && one.p[0] == '-')
                ;
            return argument(args, i, &one) && !script_only ? program_of(one) : slice_of("", 0);
        }
        i += shorts && (one.p[one.n - 1] == 'o' || one.p[one.n - 1] == 'O');
        i += slice_eq(one, "--rcfile") || slice_eq(one, "--init-file");
    }
    return slice_of("", 0);
}

static struct slice command_of(const struct exec_image *x, bool script_only)
{
    struct slice first = { 0 }, runs = { 0 };
    if (argument(x->args, 0, &first) && is_shell(last_part(first)))
        runs = shell_runs(x->args, script_only);
    return runs.n || script_only ? runs : last_part(x->exe);
}

static struct slice goals_of(struct slice args, char *out, size_t size)
{
    struct slice one;
    size_t n = 0;
    for (u32 i = 1; argument(args, i, &one); i++) {
        bool option = one.n && one.p[0] == '-';
        u64 number;                                             /* behind -j or -l */
        i += option && one.n == 2 && strchr("CfIoW", one.p[1]); /* the value is the next one */
        if (!one.n || option || !slice_u64(one, &number) || slice_find(one, '=') >= 0 || n + one.n + 1 > size)
            continue;
        if (n)
            out[n++] = ' ';
        memcpy(out + n, one.p, one.n);
        n += one.n;
    }
    return slice_of(out, n);
}

static bool exec_text(const struct source *s, const struct exec_image *x, char *buffer, size_t size, struct slice *ret)
{
    char key[256];
    switch (s->root) {
    case SOURCE_ARGS:
        *ret = x->args.n ? joined(x->args, buffer, size) : slice_of("", 0);
        return true;
    case SOURCE_ARGV:
        return argument(x->args, s->arg, ret);
    case SOURCE_PARENT:
        *ret = slice_str(x->parent ? x->parent : "");
        return true;
    case SOURCE_COMMAND:
    case SOURCE_SCRIPT:
        *ret = command_of(x, s->root == SOURCE_SCRIPT);
        return ret->n > 0;
    case SOURCE_GOALS:
        *ret = goals_of(x->args, buffer, size);
        return ret->n > 0;
    case SOURCE_UNIT:
        *ret = procinfo_get(x->procinfo, "unit");
        return ret->n > 0;
    case SOURCE_ENV:
        snprintf(key, sizeof(key), "env.%s", s->text);
        *ret = procinfo_get(x->procinfo, key);
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
    return !fnmatch(glob, path, FNM_EXTMATCH) || (!strchr(glob, '/') && slash && !fnmatch(glob, slash + 1, FNM_EXTMATCH));
}

static bool when_holds(const struct rule *r, const struct exec_image *x)
{
    char buffer[1024];
    for (u8 i = 0; i < r->n_when; i++) {
        const struct rule_condition *c = &r->when[i];
        struct slice text = slice_of("", 0);
        if (c->left.root != SOURCE_UID && !exec_text(&c->left, x, buffer, sizeof(buffer), &text))
            return false;
        if (!condition_holds(c, x->uid, text))
            return false;
    }
    return true;
}

const struct rule *workflow_exec_rule(const struct rules *r, const struct exec_image *x)
{
    const struct rule *of_pack = NULL;
    const struct rule *one;
    for (size_t i = 0; r && x->exe.n && (one = rules_in_order(r, i)); i++) {
        if (one->at != AT_EXEC || (of_pack && one->pack) || !glob_matches(one->object, x->exe) || !when_holds(one, x))
            continue;
        if (!one->pack)
            return one;
        of_pack = one;
    }
    return of_pack;
}

void workflow_exec_begin(const struct rule *rule, const struct exec_image *x, struct span *s)
{
    char buffer[1024];
    s->rule = rule->id + 1;
    attr_str(&s->attrs, ACTIVITY_TYPE, slice_str(rule->type));
    s->rule = rule->id + 1;
    if (rule->kind)
        s->kind = rule->kind;
    for (u8 i = 0; i < rule->n_attrs; i++) {
        const struct rule_attr *a = &rule->attrs[i];
        struct slice text;
        if (a->from.root == SOURCE_CONST && !a->from.text)
            attr_int(&s->attrs, a->key, a->from.number);
        else if (a->from.root == SOURCE_CONST)
            attr_str(&s->attrs, a->key, slice_str(a->from.text));
        else if (a->from.root == SOURCE_UID)
            attr_int(&s->attrs, a->key, x->uid);
        else if (exec_text(&a->from, x, buffer, sizeof(buffer), &text))
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

static const void *hook_match(const void *rules, const struct exec_image *x, bool *ret_new_trace)
{
    const struct rule *r = workflow_exec_rule(rules, x);
    *ret_new_trace = r && r->new_trace;
    return r;
}
static void hook_begin(const void *rule, const struct exec_image *x, struct span *s) { workflow_exec_begin(rule, x, s); }
static void hook_end(const void *rule, u32 status, struct span *s) { workflow_exec_end(rule, status, s); }

struct exec_hooks workflow_exec_hooks(const struct rules *rules)
{
    const struct rule *r;
    for (size_t i = 0; rules && (r = rules_in_order(rules, i)); i++)
        if (r->at == AT_EXEC)
            return (struct exec_hooks){ .arg = rules, .match = hook_match, .begin = hook_begin, .end = hook_end };
    return (struct exec_hooks){ 0 };
}
