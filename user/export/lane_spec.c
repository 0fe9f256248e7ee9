/* What a lane was made of: a copy of its own, so that whoever named it may go while the lane still delivers. */
#include "export/lane.h"

static const char **texts(struct export_spec *s, size_t i)
{
    const char **v[] = { &s->service,    &s->headers,     &s->certificate, &s->client_certificate,
                         &s->client_key, &s->compression, &s->proxy };
    return i < ARRAY_LEN(v) ? v[i] : NULL;
}

int lane_spec_copy(struct export_spec *to, const struct export_spec *from)
{
    bool fine = true;
    *to = *from;
    for (size_t i = 0; texts(to, i); i++) {
        const char **text = texts(to, i);
        if (*text)
            fine &= (*text = strdup(*text)) != NULL;
    }
    if (!fine)
        lane_spec_done(to);
    return fine ? 0 : -ENOMEM;
}

void lane_spec_done(struct export_spec *s)
{
    for (size_t i = 0; texts(s, i); i++) {
        char *text = (char *)(uintptr_t)*texts(s, i);
        if (text)
            explicit_bzero(text, strlen(text)); /* headers hold secrets */
        free(text);
        *texts(s, i) = NULL;
    }
}
