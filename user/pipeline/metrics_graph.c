/* The service graph: who calls whom, how often, how long, how often in vain. Names and labels are those of the Collector's
 * service graph connector, so that Grafana's service map and its likes read them.
 *
 * A client's span is remembered by its id when it begins; the server's span that names it as parent is the other end of the
 * pair. A call whose server nobody saw by the time it ends leads to what the client knows of it: a database, a queue, an
 * address. A request from nowhere comes from «user». */
#include "pipeline/metrics_internal.h"

#define CALLS_MAX 16384
#define WHO_MAX   64

struct call {
    char client[WHO_MAX];
    bool met; /* its server's span has ended: `server` is its name */
    char server[WHO_MAX];
};

struct graph {
    struct table *calls; /* span id → struct call */
    struct instrument *total, *failed, *client, *server;
    u8 key_client, key_server, key_type;
};

bool graph_open(struct metrics *m)
{
    static const char *const keys[] = { "client", "server", "connection_type", NULL };
    static const double bounds[] = { 0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1, 1.4, 2, 5, 10, 15 };
    struct graph *g = calloc(1, sizeof(*g));
    m->graph = g;
    if (!g)
        return false;
    g->calls = table_new(&(struct table_spec){ .key_size = SPAN_ID_LEN, .value_size = sizeof(struct call), .max = CALLS_MAX });
    struct instrument_spec spec = { .scope = "graph", .keys = keys, .bounds = bounds, .n_bounds = ARRAY_LEN(bounds) };
    spec.type = METER_COUNTER;
    spec.is_int = true;
    spec.name = "traces_service_graph_request_total";
    spec.description = "Requests between two services.";
    g->total = instrument_make(m, &spec);
    spec.name = "traces_service_graph_request_failed_total";
    spec.description = "Requests between two services that failed.";
    g->failed = instrument_make(m, &spec);
    spec.type = METER_HISTOGRAM;
    spec.is_int = false;
    spec.unit = "s";
    spec.name = "traces_service_graph_request_server";
    spec.description = "Duration of requests between two services, as the server saw it.";
    g->server = instrument_make(m, &spec);
    spec.name = "traces_service_graph_request_client";
    spec.description = "Duration of requests between two services, as the client saw it.";
    g->client = instrument_make(m, &spec);
    g->key_client = key_id(&m->keys, "client");
    g->key_server = key_id(&m->keys, "server");
    g->key_type = key_id(&m->keys, "connection_type");
    return g->calls && g->total && g->failed && g->client && g->server;
}

void graph_close(struct metrics *m)
{
    if (m->graph)
        table_free(m->graph->calls);
    free(m->graph);
    m->graph = NULL;
}

static bool calls_out(const struct span *s) { return s->kind == SPAN_CLIENT || s->kind == SPAN_PRODUCER; }

void graph_started(struct metrics *m, const struct span *s)
{
    bool fresh;
    if (!calls_out(s))
        return;
    struct call *c = table_put(m->graph->calls, s->id.span_id, &fresh);
    if (c && fresh)
        snprintf(c->client, sizeof(c->client), "%s", resource_service(s->resource));
}

static struct attr word(const char *s) { return (struct attr){ .type = ATTR_STR, .len = (u16)strlen(s), .s = s }; }

static void edge_record(struct metrics *m, const struct span *s, const char *client, const char *server, const char *type,
                        bool counts, bool from_client)
{
    struct graph *g = m->graph;
    struct attr a = word(client), b = word(server), c = word(type);
    struct metric_owner *o = owner_get(m, s->resource);
    double seconds = s->end_ns > s->start_ns ? (double)(s->end_ns - s->start_ns) / 1e9 : 0;
    if (!o)
        return;
    reading_put(&m->reading, g->key_client, &a);
    reading_put(&m->reading, g->key_server, &b);
    if (*type)
        reading_put(&m->reading, g->key_type, &c);
    if (counts)
        instrument_record(m, g->total, o, 1, s);
    if (counts && s->status == STATUS_ERROR)
        instrument_record(m, g->failed, o, 1, s);
    instrument_record(m, from_client ? g->client : g->server, o, seconds, s);
    reading_clear(&m->reading);
}

static const char *text_attr(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a && a->type == ATTR_STR && a->len ? a->s : NULL;
}

static void server_ended(struct metrics *m, const struct span *s)
{
    static const u8 none[SPAN_ID_LEN];
    const char *me = resource_service(s->resource), *type = s->kind == SPAN_CONSUMER ? "messaging_system" : "";
    bool root = !memcmp(s->parent_id, none, SPAN_ID_LEN);
    struct call *c = root ? NULL : table_peek(m->graph->calls, s->parent_id);
    if (c) {
        c->met = true;
        snprintf(c->server, sizeof(c->server), "%s", me);
        edge_record(m, s, c->client, me, type, true, false);
    } else if (root && s->kind == SPAN_SERVER) {
        edge_record(m, s, "user", me, "virtual_node", true, false);
    }
}

static void client_ended(struct metrics *m, const struct span *s)
{
    struct call *c = table_peek(m->graph->calls, s->id.span_id);
    const char *me = resource_service(s->resource), *queue = text_attr(s, "messaging.system");
    const char *database = text_attr(s, "db.system.name"), *address = text_attr(s, "server.address");
    if (c && c->met)
        edge_record(m, s, me, c->server, queue ? "messaging_system" : "", false, true);
    else if (database)
        edge_record(m, s, me, text_attr(s, "db.namespace") ? text_attr(s, "db.namespace") : database, "database", true, true);
    else if (queue || address)
        edge_record(m, s, me, queue ? queue : address, queue ? "messaging_system" : "virtual_node", true, true);
    (void)table_del(m->graph->calls, s->id.span_id);
}

void graph_ended(struct metrics *m, const struct span *s)
{
    if (calls_out(s))
        client_ended(m, s);
    else if (s->kind == SPAN_SERVER || s->kind == SPAN_CONSUMER)
        server_ended(m, s);
}
