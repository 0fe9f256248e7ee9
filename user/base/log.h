/* wftrace's own voice, on standard error. Stages do not log: who decides, logs, in the form
 *     topic: what failed, on what: ERRNO (what happens next)
 * No byte of a traced payload may reach a log. Safe from any thread. */
#ifndef WF_BASE_LOG_H
#define WF_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern enum log_level log_level; /* LOG_WARN unless -v (INFO), -vv (DEBUG) or -q (ERROR) */

void log_at(enum log_level level, const char *topic, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* While a live picture owns the terminal, complete lines (without their newline) go through this hook instead, from any
 * thread. NULL: plain standard error. */
extern void (*log_hook)(const char *line);

#define log_error(topic, ...) log_at(LOG_ERROR, topic, __VA_ARGS__)
#define log_warn(topic, ...)  log_at(LOG_WARN, topic, __VA_ARGS__)
#define log_info(topic, ...)  log_at(LOG_INFO, topic, __VA_ARGS__)
#define log_debug(topic, ...) log_at(LOG_DEBUG, topic, __VA_ARGS__)

#endif
