/* The inside of struct probes, for the files of this folder that speak to libbpf. */
#ifndef WF_PROBE_INTERNAL_H
#define WF_PROBE_INTERNAL_H

#include "probe/probe.h"
#include "base/table.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "ingest/ring.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* What this kernel can do, found once by trying (features.c). */
enum feature {
    FEATURE_BPF,     /* bpf(2) answers at all: privileges */
    FEATURE_BTF,     /* the kernel describes its types */
    FEATURE_RINGBUF, /* 5.8 */
    FEATURE_TP_BTF,  /* typed tracepoints */
    FEATURE_RAW_TP,
    FEATURE_FENTRY, /* function hooks allowed by policy */
    FEATURE_KPROBE,
    FEATURE_UPROBE,
    FEATURE_UPROBE_MULTI,  /* 6.6 */
    FEATURE_COOKIE,        /* attach cookies, 5.15 */
    FEATURE_SOCK_LENGTH,   /* tracepoints sock_send_length and sock_recv_length, 6.3 */
    FEATURE_PREEMPTED,     /* tasks may be preempted in a tracepoint, 7.0 */
    FEATURE_OPTIMISED_NOP, /* uprobes emulate multi-byte nops, 6.16 */
    FEATURE_MAX
};
struct feature_row {
    const char *words; /* for a human */
    const char *lacks; /* what its absence means and what to do */
    bool (*probe)(void);
};
extern const struct feature_row feature_table[FEATURE_MAX];
bool feature_has(enum feature f);
/* Whether the kernel has this tracepoint as a typed one, this function in its BTF. */
bool feature_tracepoint(const char *name);
bool feature_function(const char *name);
void features_rest(void); /* gives back the memory that asking took; asking again is possible */
u32 feature_kernel(void); /* version: major << 16 | minor */
/* The sentence for the user when bpf(2) is refused or the kernel lacks BTF; 0 when neither. */
int feature_verdict(char *err, size_t err_size);

enum form { FORM_TP_CHAIN, FORM_TP_BTF, FORM_RAW_TP, FORM_FENTRY, FORM_KPROBE, FORM_MAX };
extern const char *const form_name[FORM_MAX];
static inline bool form_is_tracepoint(enum form f) { return f == FORM_TP_CHAIN || f == FORM_TP_BTF || f == FORM_RAW_TP; }

enum object { OBJ_PROC, OBJ_SOCK, OBJ_TLS, OBJ_PROBE, OBJ_RUNTIME, OBJ_BRIDGE, OBJ_OUTPUT, OBJ_MAX };

/* A hook: something in the kernel that we want to hear of, and the forms in which it can be had, best first. */
enum { HOOK_PROGS = 8 };
struct hook_form {
    enum form form;
    const char *progs[HOOK_PROGS];     /* program names; the target is in the section name */
    const char *functions[HOOK_PROGS]; /* tracepoint or function behind each */
};
struct hook {
    const char *what;
    enum object object;
    struct hook_form forms[4]; /* best first */
    const char *absent;        /* what is lost without it */
};
enum { HOOKS_MAX = 8 };
extern const struct hook hook_table[HOOKS_MAX];
extern const size_t hook_count;
/* The best form of a hook here, FORM_MAX when none; `force` as in probe_options. `ret_form` is the row taken. */
enum form hook_pick(const struct hook *h, const char *force, const struct hook_form **ret_row);

struct image;
struct proc;
struct closer;

/* Links that live and end together. */
struct link_list {
    struct bpf_link **v;
    u32 n, room;
};

struct probes {
    struct probe_options options;
    struct bpf_object *objects[OBJ_MAX];
    int refused[OBJ_MAX];         /* why an object cannot be loaded, 0 when that is not so */
    struct site_link *site_links; /* of rules */
    u32 n_site_links, site_links_room;
    struct site_drop *drop; /* those that a thread lets go of; NULL: none */
    struct link_list links; /* for as long as we are here; those of files are with their images */
    struct closer *closer;
    struct control *control;
    int targets_fd, verdicts_fd, sites_fd, stats_fd, unit_fd;
    struct ring_reader *ring;
    struct table *images;  /* files already looked at */
    struct image *looking; /* at this one, now: what is attached is its */
    u64 image_serial, idle_due;
    struct image_key *retired; /* the file whose links were given to the closer last */
    struct table *procs;       /* processes seen */
    const struct rules *rules;
    struct table *output_fds; /* descriptors that lead to log files; NULL: none were looked for */
    u32 output_round;
    struct probe_discovery discovery;
    struct table *rejected; /* by discovery; NULL: it is off */
    u32 pending;            /* processes whose runtime is not initialised yet */
    u64 pending_at;
    void (*take)(void *arg, const void *record, size_t len);
    void *take_arg;
};

/* loader.c */
int loader_open(struct probes *p, char *err, size_t err_size);
void loader_close(struct probes *p);
/* A further copy of the probe object with a constant site number. */
int loader_site_object(struct probes *p, u32 site, struct bpf_object **ret);
/* Makes the map `sites` ready. */
int loader_sites(struct probes *p);
/* NULL when there is none; loads the object at the first call. */
struct bpf_program *loader_program(struct probes *p, enum object o, const char *name);

/* discover.c: false: the record is of a process that is not wanted. */
bool discover_passes(struct probes *p, const struct rec_hdr *h);

/* links.c: user functions. `path` as this process can open it. cookie 0 is fine. -errno. */
struct link_spec {
    const char *path;
    u64 offset;
    u64 cookie;
    u64 semaphore; /* file offset of a USDT semaphore or 0 */
    bool is_return;
};
int link_user(struct probes *p, struct bpf_program *prog, const struct link_spec *spec);
int link_make(struct bpf_program *prog, const struct link_spec *spec, struct bpf_link **ret);
int link_keep(struct probes *p, struct bpf_link *link); /* takes it, also when it fails */
void links_move(struct probes *p, struct link_list *l); /* to those that stay until the end */
/* Closes them soon, in a thread of its own; `l` is empty then. */
void links_retire(struct probes *p, struct link_list *l);
bool links_retiring(struct probes *p); /* some are being closed */
void links_settle(struct probes *p);   /* waits until none is */
void links_close(struct probes *p);

/* images.c: what a file offers to probe. */
struct image_key {
    u64 dev, inode, mtime, size;
};
struct map_module;
struct py_plan;
struct image_ref {
    struct image *image;
    u64 serial; /* of the image when it was taken: another one there now is not meant */
};
struct image_refs {
    struct image_ref *v;
    u32 n, room;
};
struct image {
    bool looked;
    bool stdlib;         /* a Python's: the modules beside it were looked at */
    bool ahead;          /* what it needs was looked at */
    bool go, node, java; /* a program or runtime of that kind */
    bool throws;         /* its exception runtime is probed, if it has one */
    s64 rules;           /* generation of the rules that were attached last, -1: none were */
    u64 handover;        /* boot ns since when the queue that this Python uses is probed; 0: it is not */
    struct py_plan *py;  /* owned; NULL when it is no part of a Python */
    bool pinned;         /* named by the user: attached for good */
    u32 users;           /* processes that map it, and images that need it */
    u64 serial;
    u64 idle_since; /* boot ns; of one without users */
    struct link_list links;
    u32 n_sites;             /* links of rules in it */
    struct image_refs needs; /* what a Python loads later */
};
int images_open(struct probes *p);
void images_free(struct probes *p); /* after the processes; the links are moved to those that stay */
/* Attaches to a file of a process if that was not done before. NULL when it cannot be opened or remembered. */
struct image *image_visit(struct probes *p, pid_t pid, const struct map_module *m);
int image_visit_path(struct probes *p, const char *path);
/* The same for a file of this file system, with what a Python has beside it. Lives until images are evicted. */
struct image *image_visit_ahead(struct probes *p, const char *path);

/* holds.c: who uses an image. One whose last user has gone is kept for a while, then its links are closed and it is forgotten. */
void image_hold(struct probes *p, struct image_refs *r, struct image *image);
void images_release(struct probes *p, struct image_refs *r); /* all of them */
void images_copy(struct probes *p, struct image_refs *to, const struct image_refs *from);
struct image *image_deref(const struct image_ref *r);   /* NULL when it has been forgotten */
void image_idle(struct probes *p, struct image *image); /* nobody uses it, from now on */
void images_sweep(struct probes *p);                    /* now and then */
void images_room(struct probes *p);                     /* makes room for one more, by one that nobody uses */

/* previsit.c: what a program will map, just after its exec, when it sees the files that we see. */
void previsit_exec(struct probes *p, u32 tgid, struct slice filename);

/* sites.c: the places of the user's rules in one image. */
struct elf_image;
void sites_attach(struct probes *p, struct image *image, const struct elf_image *elf, const char *seen_path,
                  const char *open_path);
/* Whether rules came since that want something in it. */
bool sites_due(const struct probes *p, const struct image *image, const char *seen_path);
void sites_release(struct probes *p, struct image *image); /* closes its links soon, in a thread of their own */
bool sites_retiring(struct probes *p);                     /* some are being closed */
void sites_settle(struct probes *p);                       /* waits until none is */
void sites_close(struct probes *p);                        /* all of them among the links; before links_close() */
void sites_close_objects(struct probes *p);

/* targets.c */
struct proc_runtime { /* what PROCINFO tells of what runs in it */
    u8 major, minor;  /* of Python, 0.0 none */
    bool go, node, java;
    u8 pad[3];
    u64 handover; /* boot ns since when its Python's queue is probed, 0 not */
};
struct proc {
    u32 tgid;
    bool informed;  /* its PROCINFO went out */
    bool started;   /* seen from its first instruction */
    bool unit_wait; /* waits for its runtime to be initialised */
    u8 tries;
    struct proc_runtime runtime;
    u64 unit_key_address;    /* of the thread-specific key in the process */
    struct target unit;      /* what to write once the key is known */
    struct image_refs holds; /* what it maps that is probed */
};
int targets_open(struct probes *p);
struct proc *targets_proc(struct probes *p, u32 tgid);
bool targets_scan(struct probes *p, u32 tgid); /* true: more is known of its runtime than before */
void targets_renew(struct probes *p, u32 tgid);
void targets_forget(struct probes *p, u32 tgid);
void targets_retry(struct probes *p); /* runtimes that were not ready */

/* procinfo.c: one PROCINFO record into `out`; its length. */
enum { PROCINFO_MAX = 16384 };
struct exec_facts {
    struct slice filename, args;
};
size_t procinfo_make(const struct proc *proc, u64 time, const struct exec_facts *exec, u8 *out);

#endif
