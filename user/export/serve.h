/* A small HTTP(S) server for scrapers (libmicrohttpd): GET and HEAD of known paths, few connections, each within a time limit.
 * Whoever is slow or hostile holds one of those connections for a while and nothing else.
 *
 * Its files are looked at once a second and read again when one has changed; whoever is connected stays so for at most half a
 * minute. Two servers may have the same address at once: the one that comes and the one that goes. */
#ifndef WF_EXPORT_SERVE_H
#define WF_EXPORT_SERVE_H

#include "base/base.h"

struct serve_request {
    const char *path, *accept; /* accept: "" when not given */
    bool head;
};
/* A body that lives until done(arg) is called; done may be NULL. */
struct serve_reply {
    unsigned status; /* 200 by default */
    const char *type;
    const char *body;
    size_t n;
    void (*done)(void *arg);
    void *arg;
};
struct serve_options {
    const char *host;              /* address or name; "": every address */
    u16 port;                      /* 0: any */
    const char *certificate, *key; /* PEM files, or NULL */
    const char *ca;        /* PEM file: who signs the scrapers' certificates; every path but health asks for one. Or NULL */
    const char *users;     /* USER:PASSWORD lines themselves, ${file:…} in them as in export/secret.h; or NULL */
    const char *passwords; /* file of USER:PASSWORD lines for every path but /healthz and /readyz, or NULL */
    /* Called on the connection's thread; may block for a while. */
    void (*answer)(void *arg, const struct serve_request *q, struct serve_reply *ret);
    void *arg;
};
struct serve;
int serve_open(const struct serve_options *o, struct serve **ret, char *err, size_t err_size); /* -errno with a sentence */
u16 serve_port(const struct serve *s);
struct serve *serve_close(struct serve *s); /* NULL is fine; returns NULL */

#endif
