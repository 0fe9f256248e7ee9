/* The control of what is attached: loads the BPF objects, picks the form of each hook, follows processes, finds
 * libraries and runtimes in them and probes those. The only part that speaks to libbpf besides ingest/ring.c. */
#ifndef WF_PROBE_PROBE_H
#define WF_PROBE_PROBE_H

#include "base/base.h"
#include <sys/types.h>

struct rules;

struct probe_options {
    u32 ring_bytes;     /* power of two; default 8 MiB */
    u32 capture_call;   /* most bytes captured of one call; default 16384 */
    u32 capture_budget; /* bytes per run of one direction under HEAD; default 32768 */
    u32 max_targets, max_conns;
    bool no_tls, no_runtime; /* leave library probes out */
    bool output;             /* what targets write to standard output and error */
    bool output_files;       /* and to files that probes_output_scan() looks for */
    bool keep_numbers;       /* of sites: a number means one thing for ever (a capture tells it once) */
    u32 image_idle_ms;       /* how long a file that no target maps stays probed; default 65 minutes */
    const char *force;       /* for tests: "tp_btf", "fentry", "kprobe", "tracepoint", comma-separated ladder */
};

struct probes;

/* Loads and attaches the base hooks. Errors: -EPERM (privilege lacks: err says which capability and how to grant it),
 * -EOPNOTSUPP (kernel lacks: err says what), others. `err` is a sentence for the user. */
int probes_open(const struct probe_options *o, struct probes **ret, char *err, size_t err_size);
struct probes *probes_close(struct probes *p); /* detaches everything; returns NULL */

/* Makes a process (all its threads) a target; follow: its children as well. Scans it for libraries if it is running. */
int probes_target(struct probes *p, pid_t tgid, bool follow);
int probes_untarget(struct probes *p, pid_t tgid);

/* Every process that is known is introduced once more (PROCINFO), before its next record. */
void probes_introduce(struct probes *p);

/* From now on every program that starts on this host is a target from its first instruction, and every process from when it
 * listens, and put to `wants`, in the reader's turn; false: it is none, and nothing of it is handed on. `port`: listened
 * on now, 0: an exec. `known`: it was a target before (a target's child). */
struct probe_discovery {
    bool (*wants)(void *arg, pid_t tgid, u32 port, bool known);
    void *arg;
};
int probes_discover(struct probes *p, const struct probe_discovery *d); /* -ENOMEM */
/* One discoverer on a node, whatever container it runs in: a descriptor to keep open; -EBUSY with the other's pid in its own
 * pid namespace; -errno. Needs BPF's privileges. */
int probes_node_lock(pid_t *ret_other);

/* Attaches to what the command `word` (found on PATH) will map, before it is started: its interpreter, its libraries, a Python's
 * modules. At most 50 ms; what can't be known is attached when it is mapped. After probes_rules(). */
void probes_previsit(struct probes *p, const char *word);

/* Attaches to what a file offers before any process maps it. -errno when it cannot be read. */
int probes_file(struct probes *p, const char *path);

/* Attaches the sites of the user's rules in every place they match; called once, before targets. err as above. */
int probes_rules(struct probes *p, const struct rules *rules, char *err, size_t err_size);

/* After rules_take() on that set (or a first one): what came is attached wherever it matches. A rule that went keeps its places
 * until probes_rules_drop() says so of it, so that calls it began can end; places are let go of in a thread of their own. */
int probes_rules_possible(char *err, size_t err_size); /* -EOPNOTSUPP: this kernel has no uprobes */
void probes_rules_taken(struct probes *p, const struct rules *rules);
void probes_rules_drop(struct probes *p, bool (*gone)(const void *arg, u32 rule), const void *arg);

/* Looks which descriptors of traced processes lead to a file that one of the patterns (fnmatch) names; writes to those are
 * told from now on. Needs probe_options.output_files; call it every now and then. */
void probes_output_scan(struct probes *p, const char *const *patterns, size_t n);

enum probe_verdict { PROBE_HEAD, PROBE_IGNORE, PROBE_ALL };
int probes_verdict(struct probes *p, u64 conn, enum probe_verdict v, u32 budget);
/* All of a TLS session's plaintext from now on; the session is known by its process and the library's object. */
int probes_verdict_tls(struct probes *p, u32 tgid, u64 ssl);
void probes_forget(struct probes *p, u64 conn);

/* One turn of the reader: hands every waiting record to `take` in order; returns how many, or -errno. The control reads
 * EXEC, MAPPED, EXIT itself on the way (to attach, to forget) and puts a PROCINFO record before the first other record
 * of a process. Sleeps at most timeout_ms when there is nothing. */
int probes_poll(struct probes *p, int timeout_ms, void (*take)(void *arg, const void *record, size_t len), void *arg);

/* The report of doctor: one row per hook or capability. */
struct probe_row {
    char what[64];  /* "socket send", "process exit", "uprobes" */
    char how[64];   /* "tp_btf", "fentry", "absent" */
    char note[160]; /* what it means and what to do */
    bool ok;
};
int probes_report(struct probe_row *rows, size_t max); /* probes only features; needs no open probes; count or -errno */
/* Bytes that a target has sent and received over TCP since it is one; -ESRCH. */
int probes_moved(struct probes *p, u32 tgid, u64 ret[2]);
/* Calls of the kernel's hooks, of any process, for which it ran no program since that was at work on the CPU. */
u64 probes_missed(struct probes *p);
void probes_stats(struct probes *p, u64 *ret, size_t n, const char *const **ret_names); /* kernel counters */

#endif
