/* What run, attach and replay share: options → agent, signals, the closing line. */
#ifndef WF_CLI_SESSION_H
#define WF_CLI_SESSION_H

#include "cli/cli.h"

#include <signal.h>

/* Signals as flags. A signal that the terminal sent (Ctrl-C) reached the whole foreground group; any other sender meant
 * wftrace alone. */
struct session_signals {
    volatile sig_atomic_t stop; /* last of INT TERM HUP QUIT, 0 none */
    volatile sig_atomic_t from_terminal;
    volatile sig_atomic_t reloads; /* there are files to read again: a SIGHUP that somebody sent sets the next, not `stop` */
    volatile sig_atomic_t reload;  /* also: any SIGHUP after session_signals_reload() */
};
extern struct session_signals session_signal;
void session_signals_catch(void);   /* INT TERM HUP QUIT set the flags; PIPE is ignored */
void session_signals_reload(void);  /* HUP is no end from here on */
void session_signals_default(void); /* from here on a signal ends wftrace at once: used while flushing */

/* Files of -c, of OTEL_CONFIG_FILE, or the OTEL_* variables → o->config. What has no effect is logged; -EINVAL with every
 * mistake, one a line, in err. Files, activities written in it and exporters are looked at by session_check_config. */
int session_config(struct options *o, char *err, size_t err_size);
int session_apply(struct options *o, char *err, size_t err_size);       /* o->config → o->agent */
int session_prices(const struct config *c, char *err, size_t err_size); /* reads the list that it names: before any thread */
int apply_exporters(struct options *o, char *err, size_t err_size);     /* exports.c: its exporters, unless -e named some */
int apply_stages(struct options *o, char *err, size_t err_size);        /* stages.c: sampler, spool, logs */
int apply_processors(struct options *o, char *err, size_t err_size);    /* processors.c */
void apply_tail(const struct config_tail *t, struct tail_options *ret);
int apply_meters(struct options *o); /* meters.c; -ENOMEM */
int session_check_config(struct config *c, char *err, size_t err_size);

/* Before anything is started: o->config; EXIT_FINE, or the exit status with the mistakes printed. */
int session_read(struct options *o);

/* Fills what the options leave open: the console exporter when no -e was given, colour, TRACEPARENT, flush time. */
int session_prepare(struct options *o, char *err, size_t err_size);
/* After a SIGHUP (else false): the files of -c anew, and what they say in force between two turns. True: so it is, and o->config is
 * the new one; whoever kept a pointer into the old one lets go of it. A mistake leaves all as it is and is told. `fits`, when it
 * is not NULL, may refuse a configuration with a sentence. */
bool session_reload(struct options *o, struct agent *a, int (*fits)(const struct config *c, char *err, size_t err_size));
void session_log_level(const struct options *o); /* o->config → log_level */
/* agent_open with the sentence printed; exit status, EXIT_FINE with *ret set. */
int session_open(struct options *o, struct agent **ret);
/* agent_close and the closing line. EXIT_RUNTIME when the capture is not whole, else EXIT_FINE. */
int session_close(const struct options *o, struct agent *a);
/* One turn of a live session that is not watched more often than this. */
#define SESSION_TURN_MS 100

#endif
