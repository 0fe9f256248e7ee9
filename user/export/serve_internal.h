/* What serve.c (requests) and serve_daemon.c (sockets, certificates, their rotation) share. */
#ifndef WF_EXPORT_SERVE_INTERNAL_H
#define WF_EXPORT_SERVE_INTERNAL_H

#include "export/secret.h"
#include "export/serve.h"

#include <microhttpd.h>
#include <pthread.h>

/* The server with the contents of its files at one time. A rotation makes another beside it, on the same socket. */
struct serving {
    struct serve *of;
    struct MHD_Daemon *daemon;
    char *certificate, *key, *ca, *passwords; /* NULL: none */
};
struct listener;
struct serve {
    struct serve_options o; /* texts are its own */
    struct listener *listener;
    struct serving *now, *old; /* old: still has connections; NULL: none */
    u64 old_until;             /* boot ns */
    struct watch watch;
    bool watched; /* there are files: the thread looks at them */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing;
};

/* For MHD; cls is a struct serving. */
enum MHD_Result serve_request_take(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                   const char *data, size_t *data_size, void **state);

#endif
