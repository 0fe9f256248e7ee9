/* The book of sites: what each site number of a hit means. probe/ writes a row when it attaches; workflow/ reads it. One
 * writer; a row changes after `n` was raised only when its probe is gone. */
#ifndef WF_CONFIG_SITES_H
#define WF_CONFIG_SITES_H

#include "base/base.h"

enum site_role {
    SITE_ENTRY,  /* a function begins */
    SITE_RETURN, /* it has returned, or is about to (on its ret instruction) */
    SITE_TAIL,   /* it leaves by a jump into another function: the return value is not known */
    SITE_POINT,  /* USDT probe alone */
    SITE_BEGIN,
    SITE_UNTIL, /* USDT pair */
    SITE_THROW,
    SITE_RETHROW,
    SITE_CATCH,
    SITE_RESUME,
    SITE_PANIC,
    SITE_PANIC_CATCH,
};
#define NO_RULE      UINT32_MAX
#define RULE_GONE    (UINT32_MAX - 1) /* a row that was given back */
#define RULE_LEAVING (UINT32_MAX - 2) /* its probe is on its way out: what it says is not heard */
struct site_row {
    u32 rule; /* id, NO_RULE for the sites of exception runtimes */
    enum site_role role;
    const char *function; /* readable name; interned */
    const char *file;     /* image; interned */
};
#define SITE_ROWS 1024
struct site_book {
    u32 n;
    u32 free;    /* rows below n that were given back */
    u32 refused; /* sites that found the book full */
    struct site_row v[SITE_ROWS];
};
/* Adds a row; its number, or -ENOSPC. */
int site_add(struct site_book *b, const struct site_row *row);
void site_leave(struct site_book *b, u32 number);
void site_free(struct site_book *b, u32 number);                        /* nothing will come under this number any more */
const struct site_row *site_get(const struct site_book *b, u32 number); /* NULL */

#endif
