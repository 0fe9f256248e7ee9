/* Conditions over spans and log records (struct match of processor.h), with their own copies of every text. */
#ifndef WF_PIPELINE_MATCH_H
#define WF_PIPELINE_MATCH_H

#include "pipeline/processor.h"

int match_copy(struct match *to, const struct match *from); /* -ENOMEM */
void match_done(struct match *m);
bool match_span(const struct match *m, const struct span *s);
bool match_log(const struct match *m, const struct log_record *l);
/* An attribute's value as text: its own, or written into buf. NULL when it is a list. */
const char *attr_as_text(const struct attr *a, char *buf, size_t size);

#endif
