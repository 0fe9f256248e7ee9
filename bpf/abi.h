/* What the kernel side and user space say to each other: records in the ring, values in the maps. The one header that
 * both sides include; fixed-width fields, named padding, little-endian and 64-bit on both architectures.
 *
 * A record is its struct followed by its payload. `len` in the header is the size of both as captured. Times are boot
 * time in ns. Ids of processes and threads are those of the initial pid namespace.
 *
 * Loss: the ring's only loss is a failed reservation. The kernel counts it in a global and stamps every later record
 * with the count (`lost`), so a reader knows that something is missing before this record, and how much, on every
 * kernel from 5.10 on (a per-ring sequence would need atomics that return a value: 5.12). */
#ifndef WF_BPF_ABI_H
#define WF_BPF_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define WF_ABI_VERSION 1

struct rec_hdr {
    __u16 type; /* enum rec_type */
    __u16 flags;
    __u32 len; /* whole record, payload included */
    __u64 time;
    __u32 tgid, tid;
    __u64 unit;   /* current unit below the thread: a Python context, a greenlet …; 0: the thread itself */
    __u64 cgroup; /* cgroup v2 id; 0: unknown, and in DATA and EDGE, whose process told it */
    __u32 lost;   /* records lost so far in all rings */
    __u32 pad;
};

/* X(tag, struct, lower-case name) */
#define RECORDS(X)                                                                                                               \
    X(REC_FORK, rec_fork, fork)                                                                                                  \
    X(REC_EXEC, rec_exec, exec)                                                                                                  \
    X(REC_EXIT, rec_exit, exit)                                                                                                  \
    X(REC_COMM, rec_comm, comm)                                                                                                  \
    X(REC_OOM, rec_oom, oom)                                                                                                     \
    X(REC_CONN, rec_conn, conn)                                                                                                  \
    X(REC_DATA, rec_data, data)                                                                                                  \
    X(REC_CLOSE, rec_close, close)                                                                                               \
    X(REC_TLS, rec_tls, tls)                                                                                                     \
    X(REC_HIT, rec_hit, hit)                                                                                                     \
    X(REC_EDGE, rec_edge, edge)                                                                                                  \
    X(REC_PUT, rec_put, put)                                                                                                     \
    X(REC_TAKE, rec_take, take)                                                                                                  \
    X(REC_MAPPED, rec_mapped, mapped)                                                                                            \
    X(REC_BRIDGE, rec_bridge, bridge)                                                                                            \
    X(REC_WRITE, rec_write, write)                                                                                               \
    X(REC_LISTEN, rec_listen, listen)                                                                                            \
    X(REC_PIPES, rec_pipes, pipes)

enum rec_type {
    REC_NONE = 0,
#define X(tag, s, n) tag,
    RECORDS(X)
#undef X
        REC_KERNEL_MAX,
    REC_PROCINFO = 128, /* made in user space (ingest/procinfo.h), in captures too; payload "key=value\0…" */
};

/* A process or thread was made; the header is the maker's. */
struct rec_fork {
    struct rec_hdr h;
    __u32 child_tgid, child_tid; /* equal tgids: a thread */
};

/* A process replaced its image. Payload: file name NUL, then argv as the kernel holds it (NUL between arguments). */
struct rec_exec {
    struct rec_hdr h;
    __u32 ppid; /* real parent's tgid */
    __u32 uid;
    __u16 filename_len; /* with its NUL */
    __u16 args_len;     /* captured bytes */
    __u32 args_full;    /* bytes there were */
};

/* Right after an exec: standard input or output, or both, is a pipe. */
struct rec_pipes {
    struct rec_hdr h;
    __u64 in, out; /* inodes; 0: no pipe */
};

/* The last thread of a process is gone (REC_F_THREAD: a mere thread is). */
struct rec_exit {
    struct rec_hdr h;
    __u32 status; /* as wait(2) gives it: code << 8 | signal | 0x80 core */
    __u32 ppid;
    __u64 start;                   /* boot time of the process's start */
    __u64 utime, stime;            /* CPU ns of the whole process */
    __u64 rss_peak;                /* bytes, 0 unknown */
    __u64 read_bytes, write_bytes; /* storage I/O, 0 unknown */
};

struct rec_comm {
    struct rec_hdr h;
    char comm[16];
};

struct rec_oom {
    struct rec_hdr h;
    __u32 victim; /* tgid chosen by the OOM killer */
    __u32 pad;
};

enum conn_role { ROLE_UNKNOWN = 0, ROLE_CLIENT = 1, ROLE_SERVER = 2 };

/* A connection is first seen, or its attempt failed (err). Addresses: IPv4 in the first 4 bytes, network order. */
struct rec_conn {
    struct rec_hdr h;
    __u64 conn;       /* id, unique until reboot */
    __u64 inode;      /* of the socket */
    __u64 peer_inode; /* Unix sockets: the other end; else 0 */
    __u64 start;      /* boot time of the first SYN or of accept where known, else 0 (open before we came) */
    __u16 family;     /* AF_INET, AF_INET6, AF_UNIX */
    __u8 sock_type;
    __u8 role;                     /* enum conn_role */
    __u16 local_port, remote_port; /* host order */
    __u32 err;                     /* errno of a failed connect, else 0 */
    __u32 netns;
    __u8 local[16], remote[16];
};

enum data_dir { DATA_SEND = 0, DATA_RECV = 1 };
#define REC_F_TAIL      1  /* data: the last bytes of a call whose middle was not captured */
#define REC_F_THREAD    2  /* exit */
#define REC_F_NODATA    4  /* data: the bytes could not be read (sendfile, io_uring): length and time only */
#define REC_F_OPEN      8  /* conn: was open before it was traced: position counts from now */
#define REC_F_MORE      16 /* write: the next record goes on with the same call */
#define REC_F_CANDIDATE 32 /* exec, listen: became a target just now, by discovery */

/* One send or receive. Payload: the first cap_len bytes of its orig_len (or the last, REC_F_TAIL). */
struct rec_data {
    struct rec_hdr h;
    __u64 conn;
    __u64 pos; /* stream offset of the payload's first byte, counted from the connection's first sight, per direction */
    __u32 orig_len, cap_len;
    __u8 dir;
    __u8 pad[7];
};

struct rec_close {
    struct rec_hdr h;
    __u64 conn;
    __u64 sent, received;
    __u32 err; /* the socket's error (ECONNRESET …), 0 for an orderly close */
    __u32 pad;
};

/* Plaintext at a TLS library's read or write. Sequence with the thread's REC_DATA tells the connection. */
struct rec_tls {
    struct rec_hdr h;
    __u64 ssl; /* the library's connection object */
    __u64 pos; /* plaintext offset per object and direction */
    __u32 orig_len, cap_len;
    __u8 dir;
    __u8 pad[7];
};

#define HIT_VALUES 8
#define HIT_STR    128 /* bytes a string slot */
enum hit_phase { HIT_ENTRY = 0, HIT_RETURN = 1, HIT_POINT = 2 };

/* A declared probe fired. Payload: string slots of HIT_STR bytes, one for each value whose bit is in `strings`. */
struct rec_hit {
    struct rec_hdr h;
    __u32 site;
    __u8 phase;
    __u8 n_values;
    __u8 strings; /* bit i: value i is a string; v[i] its slot number */
    __u8 failed;  /* bit i: value i could not be read */
    __u64 sp;     /* stack pointer as it was at the function's first instruction */
    __u64 v[HIT_VALUES];
    __u8 str_len[HIT_VALUES]; /* per value */
};

/* Unit `parent` made unit `child` (both below thread; the header's unit is the current one). */
struct rec_edge {
    struct rec_hdr h;
    __u64 parent, child;
};
/* A hand-over object went into / came out of a queue. */
struct rec_put {
    struct rec_hdr h;
    __u64 key;
};
struct rec_take {
    struct rec_hdr h;
    __u64 key; /* 0: a take began (the unit is waiting and drops its label) */
};

/* The dynamic linker finished mapping something: user space looks for libraries to probe. */
struct rec_mapped {
    struct rec_hdr h;
};

/* The helper inside a Python says something. Payload: its event as it stands in user/inproc/python/bridge_abi.h. */
struct rec_bridge {
    struct rec_hdr h;
    __u32 orig_len, cap_len;
};

/* A call that writes to standard output or error, or to a log file. Payload: the first cap_len bytes of its orig_len. A
 * writev is one record for each of its parts. */
struct rec_write {
    struct rec_hdr h;
    __u32 fd;
    __u32 orig_len, cap_len;
    __u32 mode;  /* st_mode of what the descriptor leads to, 0 unknown */
    __u64 inode; /* and its inode; of a character device its number (major << 20 | minor) */
};

/* A process listens on a TCP port, and discovery is on. */
struct rec_listen {
    struct rec_hdr h;
    __u32 port; /* host order */
    __u32 pad;
};

/* ---- maps ---- */

/* The one value of `control`, mapped by user space. */
struct control {
    __u32 lost;       /* records lost so far */
    __u32 sleeping;   /* the reader sets it before it sleeps; the kernel clears it when it wakes the reader */
    __u32 wake_bytes; /* wake when more than this waits in the ring */
    __u32 generation; /* raised with each change of `verdicts`: cached verdicts are stale */
    __u32 call_max;   /* most bytes captured of one call */
    __u32 budget;     /* default verdict: HEAD with this budget */
    __u32 discover;   /* every exec makes its process a target, until user space says that it is none */
};

#define TARGET_F_FOLLOW 1 /* children are targets too */
#define TARGET_F_DATA   2 /* sockets and TLS */
#define TARGET_F_PROC   4 /* fork, exec, exit, comm */

enum unit_kind { UNIT_THREAD = 0, UNIT_PATH = 1, UNIT_SWITCHED = 2 };

/* Value of `targets`, key tgid: who is traced, and how its current unit is read.
 * UNIT_PATH: p = fsbase + path[0]; p = *p + path[i] …; unit = *p after `steps` dereferences.
 * UNIT_SWITCHED: the unit last announced for the thread (greenlets). */
struct target {
    __u32 flags;
    __u8 unit_kind;
    __u8 steps;
    __u16 pad;
    __s32 path[4];
    __u64 moved[2]; /* bytes on TCP since it is a target: sent, received */
};

enum verdict_mode { VERDICT_HEAD = 0, VERDICT_IGNORE = 1, VERDICT_ALL = 2 };
/* Value of `verdicts`, key connection id. HEAD: each run of calls in one direction is captured up to `budget` bytes. */
struct verdict {
    __u32 mode;
    __u32 budget;
};

/* Key of `tls_whole`: TLS sessions whose plaintext is captured without a budget. */
struct tls_session_key {
    __u64 ssl;
    __u32 tgid, pad;
};

/* Read operations: a little program per site that fills the values of a hit. Registers by architecture-neutral number:
 * x86-64 DWARF-less order ax bx cx dx si di bp sp r8…r15 ip = 0…16; arm64 x0…x30 sp pc = 0…32. */
enum read_kind {
    READ_END = 0,
    READ_REG,    /* v = register `arg` + off */
    READ_STACK,  /* v = stack pointer at function entry + off */
    READ_TLS,    /* v = thread pointer (fsbase, tpidr) + off */
    READ_CONST,  /* v = off */
    READ_DEREF,  /* v = *(size bytes at v + off), zero-extended; arg 1: sign-extended */
    READ_ADD,    /* v = v + off */
    READ_EXTEND, /* v = low `size` bytes of v; arg 1: sign-extended */
    READ_STORE,  /* value number `arg` = v */
    READ_STR,    /* value number `arg` = NUL-terminated string at v, at most HIT_STR - 1 bytes */
    READ_BYTES,  /* value number `arg` = bytes at v, as many as value number `size` says, at most HIT_STR */
    READ_INDEX,  /* v = v + saved * arg, where saved is the v at the last READ_SAVE */
    READ_SAVE,   /* saved = v */
};
struct read_op {
    __u8 kind, arg, size, pad;
    __s32 off;
};
#define SITE_OPS  24
#define SITES_MAX 1024
/* Value of `sites`, index = site number = attach cookie. */
struct site {
    __u8 n_ops, phase;
    __u8 n_strings; /* READ_STR and READ_BYTES among the ops: decides how much room the hit reserves */
    __u8 pad;
    __s32 stack_shift; /* bytes by which sp lies below its value at function entry where the probe sits */
    struct read_op ops[SITE_OPS];
};

#endif
