/* What one record of a log says of itself: severity, time, ids, exception; JSON objects and the common text formats.
 *
 * Severity numbers follow the OTLP log data model (appendix B); a text that is not understood stays unspecified. A time
 * without a zone is believed when, as local time or as UTC, it lies within minutes of when the line was written. */
#ifndef WF_PIPELINE_LOGS_LINE_H
#define WF_PIPELINE_LOGS_LINE_H

#include "trace/signal.h"

/* The record of one text (one line, or several that belong together, without the last newline), written at `wall`. The
 * body is the text as it is, or the message of a JSON object whose other fields become attributes. NULL: the pool is empty. */
struct log_record *log_line_record(struct slice text, u64 wall);

enum log_line { LOG_LINE_NEW, LOG_LINE_MORE };
enum log_block {
    LOG_BLOCK_NONE,
    LOG_BLOCK_TRACEBACK, /* inside a Python traceback */
    LOG_BLOCK_RAISED,    /* behind its last line */
    LOG_BLOCK_CHAIN,     /* another traceback has been announced */
    LOG_BLOCK_PANIC,     /* Go: up to the end */
};
/* Does `line` go on with the record before it? `same_call`: both came in one write. *block is the assembly's state, kept
 * from line to line; anything but NONE means that more is to be expected. */
enum log_line log_line_kind(struct slice line, bool has_record, bool same_call, enum log_block *block);

u8 log_severity(struct slice word);                                     /* "WARNING" → 13; 0 unknown */
bool log_time(struct slice text, u64 wall, u64 *ret, size_t *ret_used); /* at the start of the text */

/* logs_json.c: a JSON object on one line, flattened ("a.b"). False: it is none. */
struct log_record *log_json_record(struct slice text, u64 wall);
/* Shared with it: sets the ids from hexadecimal texts; severity from a word or a number; the exception's parts. */
bool log_ids(struct log_record *l, struct slice trace, struct slice span);
void log_set_severity(struct log_record *l, struct slice word);
void log_exception(struct log_record *l, struct slice stack);

#endif
