/* The memory of a configuration, which dies as a whole, and what is said while it is made. */
#include "config/config_internal.h"

/* --- memory --- */
#define BLOCK_SIZE 16384
struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *config_alloc(struct config_state *s, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct arena_block *b = s->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = max_u64(size, BLOCK_SIZE);
        b = calloc(1, sizeof(*b) + room);
        if (!b)
            return NULL;
        b->size = room;
        b->next = s->blocks;
        s->blocks = b;
    }
    void *p = (char *)b->bytes + b->used;
    b->used += size;
    return p;
}

char *config_strdup(struct config_state *s, const char *text, size_t n)
{
    char *p = config_alloc(s, n + 1);
    if (p && n)
        memcpy(p, text, n);
    return p;
}

void config_state_free(struct config_state *s)
{
    while (s && s->blocks) {
        struct arena_block *next = s->blocks->next;
        explicit_bzero(s->blocks->bytes, s->blocks->used); /* secrets were in it */
        free(s->blocks);
        s->blocks = next;
    }
    free(s);
}

const char *config_getenv(const struct config_state *s, const char *name)
{
    const char *v = s->in->env ? s->in->env(s->in->env_arg, name) : getenv(name);
    return v && *v ? v : NULL;
}

/* --- messages --- */
static void say(struct config_says *to, const struct config_place *at, const char *fmt, va_list ap)
{
    char text[600];
    int head = 0;
    if (at->origin != ORIGIN_FILE)
        head = snprintf(text, sizeof(text), "%s: ", at->name);
    else if (at->line)
        head = snprintf(text, sizeof(text), "%s:%u:%u: ", at->name, at->line, at->column);
    else
        head = snprintf(text, sizeof(text), "%s: ", at->name);
    if (head > 0 && (size_t)head < sizeof(text))
        vsnprintf(text + head, sizeof(text) - (size_t)head, fmt, ap);
    to->n++;
    size_t n = strlen(text);
    if (to->used + n + 2 > sizeof(to->text)) {
        to->left_out++;
        return;
    }
    if (to->used)
        to->text[to->used++] = '\n';
    memcpy(to->text + to->used, text, n + 1);
    to->used += n;
}

/* A variable of the environment that makes no sense is ignored, as the specification wants it. */
void config_mistake(struct config_state *s, const struct config_place *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(at->origin == ORIGIN_ENV ? s->notes : s->mistakes, at, fmt, ap);
    va_end(ap);
}

void config_note(struct config_state *s, const struct config_place *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(s->notes, at, fmt, ap);
    va_end(ap);
}
