/* What the files of workflow/ share. Nobody outside includes this. */
#ifndef WF_WORKFLOW_INTERNAL_H
#define WF_WORKFLOW_INTERNAL_H

#include "workflow/workflow.h"

#define ACTIVITY_TYPE "wftrace.activity.type"

/* describe.c: values of hits → attributes, conditions, names. `moment`: PLAN_ENTRY or PLAN_RETURN. */
void describe_attributes(const struct rule *r, const struct rule_plan *p, int moment, const struct event *e, struct span *s);
bool describe_when(const struct rule *r, const struct rule_plan *p, const struct event *e);
/* Asks the rule's conditions that this moment decides (e may be NULL: no values) and sets the span's status. */
void describe_outcome(const struct rule *r, const struct rule_plan *p, int moment, const struct event *e, struct span *s);
void describe_name(const struct rule *r, struct span *s);
/* A call was left by an exception of this type. */
void describe_exception(const struct rule *r, struct span *s, u64 wall, struct slice type);
/* Whether an attribute of the span, whatever made it, meets the condition; its text for the message. */
bool attr_holds(const struct rule_condition *c, const struct span *s, char *word, size_t size);
void set_failure(struct span *s, const char *type, const char *message);
bool condition_holds(const struct rule_condition *c, s64 value, struct slice text);

/* typename.c: the readable form of a C++ type_info name ("St13runtime_error") into out; the name itself if not understood. */
void type_readable(struct slice mangled, char *out, size_t size);

#endif
