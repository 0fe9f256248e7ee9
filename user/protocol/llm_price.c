/* What a call cost, by a list of prices: YAML, built in (prices.yaml) or the user's. The file's order decides: the first entry
 * whose provider and model fit. A model that isn't listed has no cost; nothing is guessed. */
#include "protocol/llm_internal.h"

#include <ctype.h>
#include <math.h>
#include <yaml.h>

#define PRICES_MAX 4096

/* The bytes of prices.yaml, NUL-terminated, in the program itself. */
__asm__(".section .rodata\n"
        ".global llm_prices_text\n"
        "llm_prices_text:\n"
        ".incbin \"user/protocol/prices.yaml\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char llm_prices_text[];

struct price {
    char provider[40], model[80]; /* globs with `*`; provider empty: any */
    double input, output, cached, written, up_to;
};

static struct {
    struct price *v;
    size_t n;
    bool loaded;
} prices;

static bool glob(const char *g, const char *s)
{
    const char *star = NULL, *back = NULL;
    while (*s) {
        if (*g == '*') {
            star = ++g;
            back = s;
        } else if (tolower((u8)*g) == tolower((u8)*s)) {
            g++;
            s++;
        } else if (star) {
            g = star;
            s = ++back;
        } else {
            return false;
        }
    }
    while (*g == '*')
        g++;
    return !*g;
}

static bool price_member(struct price *p, const char *key, const char *value)
{
    static const struct {
        const char *key;
        size_t at;
    } numbers[] = { { "input", offsetof(struct price, input) },
                    { "output", offsetof(struct price, output) },
                    { "cache_read", offsetof(struct price, cached) },
                    { "cache_write", offsetof(struct price, written) },
                    { "up_to", offsetof(struct price, up_to) } };
    char *end;
    if (!strcmp(key, "provider"))
        return (size_t)snprintf(p->provider, sizeof(p->provider), "%s", value) < sizeof(p->provider);
    if (!strcmp(key, "model"))
        return *value && (size_t)snprintf(p->model, sizeof(p->model), "%s", value) < sizeof(p->model);
    double number = strtod(value, &end);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (!strcmp(key, numbers[i].key)) {
            *(double *)(void *)((char *)p + numbers[i].at) = number;
            return *value && !*end && isfinite(number) && number >= 0;
        }
    return false;
}

static const char *scalar(yaml_document_t *d, int node)
{
    yaml_node_t *n = yaml_document_get_node(d, node);
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static int refuse(char *err, size_t size, const yaml_node_t *at, const char *why)
{
    snprintf(err, size, "line %zu: %s", at ? at->start_mark.line + 1 : 1, why);
    return -EBADMSG;
}

static int price_read(yaml_document_t *d, yaml_node_t *node, struct price *ret, char *err, size_t size)
{
    struct price p = { .input = NAN, .output = NAN, .cached = NAN, .written = NAN, .up_to = INFINITY };
    if (!node || node->type != YAML_MAPPING_NODE)
        return refuse(err, size, node, "a price is a mapping: model, input, output …");
    for (yaml_node_pair_t *m = node->data.mapping.pairs.start; m < node->data.mapping.pairs.top; m++) {
        const char *key = scalar(d, m->key), *value = scalar(d, m->value);
        if (!key || !value || !price_member(&p, key, value))
            return refuse(
                err, size, yaml_document_get_node(d, m->key),
                "expected provider, model, input, output, cache_read, cache_write or up_to, all but the first two numbers");
    }
    if (!p.model[0] || isnan(p.input))
        return refuse(err, size, node, "a price needs at least a model and its input price");
    *ret = p;
    return 0;
}

static yaml_node_t *member(yaml_document_t *d, yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *m = map->data.mapping.pairs.start; m < map->data.mapping.pairs.top; m++) {
        const char *k = scalar(d, m->key);
        if (k && !strcmp(k, key))
            return yaml_document_get_node(d, m->value);
    }
    return NULL;
}

static int document_read(yaml_document_t *d, char *err, size_t size)
{
    yaml_node_t *list = member(d, yaml_document_get_root_node(d), "prices");
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return refuse(err, size, list, "expected a list `prices`");
    size_t n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    if (n > PRICES_MAX)
        return refuse(err, size, list, "more than 4096 prices");
    cleanup(freep) struct price *v = calloc(n ? n : 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int e = price_read(d, yaml_document_get_node(d, list->data.sequence.items.start[i]), &v[i], err, size);
        if (e)
            return e;
    }
    free(prices.v);
    prices.v = take_ptr(v);
    prices.n = n;
    prices.loaded = true;
    return 0;
}

int llm_prices_load(struct slice text, char *err, size_t err_size)
{
    yaml_parser_t parser;
    yaml_document_t d;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, text.p, text.n);
    int e = -EBADMSG;
    if (!yaml_parser_load(&parser, &d)) {
        snprintf(err, err_size, "line %zu: %s", parser.problem_mark.line + 1, parser.problem ? parser.problem : "not YAML");
    } else {
        e = document_read(&d, err, err_size);
        yaml_document_delete(&d);
    }
    yaml_parser_delete(&parser);
    return e;
}

static void prices_builtin(void)
{
    char err[160];
    prices.loaded = true;
    int e = llm_prices_load(slice_str(llm_prices_text), err, sizeof(err));
    assert(!e);
    (void)e;
}

static const struct price *price_of(const char *provider, const char *model)
{
    if (!prices.loaded)
        prices_builtin();
    for (size_t i = 0; i < prices.n; i++)
        if ((!prices.v[i].provider[0] || glob(prices.v[i].provider, provider)) && glob(prices.v[i].model, model))
            return &prices.v[i];
    return NULL;
}

/* Tokens that were read from or written into a cache have a price of their own; where none is listed, that of input. */
bool llm_cost(const char *provider, const char *model, const char *or_model, const struct llm_usage *u, double *ret_usd)
{
    const struct price *p = price_of(provider, model);
    if (!p)
        p = price_of(provider, or_model);
    if (!p || u->input > p->up_to || (u->output > 0 && isnan(p->output)))
        return false;
    double cached = fmin(u->cached, u->input), written = fmin(u->written, u->input - cached);
    double usd = (u->input - cached - written) * p->input + cached * (isnan(p->cached) ? p->input : p->cached) +
                 written * (isnan(p->written) ? p->input : p->written) + (u->output > 0 ? u->output * p->output : 0);
    *ret_usd = usd / 1e6;
    return true;
}
