/* The list of protocols, and what every parser needs of a message. */
#include "protocol/protocol.h"

#define PROTOCOL(name) extern const struct protocol protocol_##name;
#include "protocol/protocol.def"
#undef PROTOCOL

const struct protocol *const protocols[] = {
#define PROTOCOL(name) &protocol_##name,
#include "protocol/protocol.def"
#undef PROTOCOL
    NULL,
};

const struct protocol *protocol_by_name(const char *name)
{
    for (size_t i = 0; protocols[i]; i++)
        if (!strcmp(protocols[i]->name, name))
            return protocols[i];
    return NULL;
}

/* The arenas are not wiped: `used` and `n` say what counts. */
void message_clear(struct message *m)
{
    m->name[0] = m->traceparent[0] = m->tracestate[0] = m->baggage[0] = 0;
    m->error_type = m->error_message = NULL;
    m->answers = 1;
    m->interim = m->no_span = m->silent = false;
    m->marks = NULL;
    m->attrs = (struct attr_set){ .v = m->attr_v, .text = m->text_v, .max = ARRAY_LEN(m->attr_v), .text_max = sizeof(m->text_v) };
}

void message_add(struct message *to, const struct message *end)
{
    attr_set_copy(&to->attrs, &end->attrs);
    if (end->marks)
        to->marks = end->marks;
    if (end->name[0])
        memcpy(to->name, end->name, sizeof(to->name));
    if (end->error_type)
        to->error_type = attr_text(&to->attrs, slice_str(end->error_type));
    if (end->error_message)
        to->error_message = attr_text(&to->attrs, slice_str(end->error_message));
}
