/* The typed event: what a record becomes once its bounds have been checked, in one place (decode.c). Slices borrow from
 * the record and live until the callback returns. Everything behind ingest/ speaks events, never records. */
#ifndef WF_INGEST_EVENT_H
#define WF_INGEST_EVENT_H

#include "base/base.h"

enum event_type {
    EVENT_FORK,
    EVENT_EXEC,
    EVENT_EXIT,
    EVENT_COMM,
    EVENT_OOM,
    EVENT_CONN,
    EVENT_DATA,
    EVENT_CLOSE,
    EVENT_TLS,
    EVENT_HIT,
    EVENT_EDGE,
    EVENT_PUT,
    EVENT_TAKE,
    EVENT_MAPPED,
    EVENT_BRIDGE,
    EVENT_WRITE,
    EVENT_LISTEN,
    EVENT_PIPES,
    EVENT_PROCINFO,
    EVENT_MAX,
};
extern const char *const event_name[EVENT_MAX];

enum role { CONN_UNKNOWN, CONN_CLIENT, CONN_SERVER };
enum dir { DIR_SEND, DIR_RECV };
enum phase { PHASE_ENTRY, PHASE_RETURN, PHASE_POINT };
#define EVENT_VALUES 8

/* What the helper inside a Python says (inproc/python/bridge_abi.h). */
enum bridge_phase {
    BRIDGE_SAYS_START,
    BRIDGE_SAYS_END,
    BRIDGE_SAYS_FAIL,
    BRIDGE_SAYS_SUSPEND,
    BRIDGE_SAYS_RESUME,
    BRIDGE_SAYS_NOTE
};
enum value_type { VALUE_NONE, VALUE_TEXT, VALUE_INT, VALUE_DOUBLE, VALUE_BOOL };
struct event_value {
    u8 index; /* attribute of the watch, or one of VALUE_ERROR_… */
    enum value_type type;
    struct slice text; /* TEXT */
    s64 i;             /* INT, BOOL */
    double d;          /* DOUBLE */
};
enum { VALUE_ERROR_TYPE = 250, VALUE_ERROR_MESSAGE, VALUE_ERROR_WHERE, VALUE_FUNCTION };

struct event {
    enum event_type type;
    u64 time; /* boot ns */
    u32 tgid, tid;
    u64 unit; /* 0: the thread */
    u64 cgroup;
    u32 lost; /* records lost since the event before */
    union {
        struct {
            u32 child_tgid, child_tid;
            bool thread;
        } fork;
        struct {
            u32 ppid, uid;
            struct slice filename, args;
            bool args_cut;
        } exec; /* args: NUL between arguments */
        struct {
            u32 status, ppid;
            bool thread;
            u64 start, utime, stime, rss_peak, read_bytes, write_bytes;
        } exit;
        struct {
            struct slice comm;
        } comm;
        struct {
            u32 victim;
        } oom;
        struct {
            u64 in, out; /* inodes of standard input and output right after an exec; 0: no pipe */
        } pipes;
        struct {
            u64 id, inode, peer_inode, start;
            u16 family, local_port, remote_port;
            enum role role;
            u32 err, netns;
            bool was_open;
            u8 local[16], remote[16];
        } conn;
        struct {
            u64 conn, pos;
            u32 len;
            enum dir dir;
            bool tail, nodata;
            struct slice bytes;
        } data; /* len: the call's true length */
        struct {
            u64 conn, sent, received;
            u32 err;
        } close;
        struct {
            u64 ssl, pos;
            u32 len;
            enum dir dir;
            bool tail;
            struct slice bytes;
        } tls;
        struct {
            u32 site;
            enum phase phase;
            u8 n, strings, failed;
            u64 sp;
            u64 v[EVENT_VALUES];
            struct slice s[EVENT_VALUES]; /* s[i] when bit i of strings is set */
        } hit;
        struct {
            u64 parent, child;
        } edge;
        struct {
            u64 key;
        } handover; /* PUT, TAKE */
        struct {
            enum bridge_phase phase;
            u16 watch;
            u8 dropped;          /* values that did not fit or could not be read */
            u32 book;            /* which watch list its process has (config/watch.h); 0: not told */
            u64 activity;        /* the same from START to END or FAIL, unique in the process */
            struct slice values; /* for event_value_next() */
        } bridge;
        struct {
            u32 fd, len; /* the call's true length (of this part) */
            u32 mode;    /* st_mode of what the descriptor leads to, 0 unknown */
            u64 inode;
            bool more;          /* the next WRITE of this thread goes on with the same call */
            struct slice bytes; /* what of it was captured, from its start */
        } write;
        struct {
            u16 port;
        } listen;
        /* From user space: "key=value\0…": exe, cwd, comm, args (\x1f between), env.NAME, container.id, unit (systemd),
         * python ("3.11"), seen ("start" = traced from its first instruction, "attach"), ppid, start (boot ns), uid, host pid ns */
        struct {
            struct slice text;
        } procinfo;
    };
};

/* Value of `key` in a PROCINFO text; empty when absent. */
struct slice procinfo_get(struct slice text, const char *key);

/* Takes the next value off e->bridge.values; false when there is none. */
bool event_value_next(struct slice *values, struct event_value *ret);

/* Checks one record as it came from a ring or a capture file (aligned to 8) and calls `ret` full. 0, -EBADMSG (counted), -ENOTSUP for
 * an unknown type (counted). Keeps the last `lost` in *lost_seen to turn it into a difference. */
int event_decode(const void *record, size_t len, u32 *lost_seen, struct event *ret);

#endif
