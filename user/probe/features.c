/* What the kernel can do, asked by trying: a program of two instructions is loaded, a link is made and dropped. Each answer
 * is kept. The version number decides only where nothing can be tried (how uprobes treat an instruction). */
#include "probe/internal.h"
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <malloc.h>
#include <sys/utsname.h>
#include <unistd.h>

static const struct bpf_insn nothing[] = {
    { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
    { .code = BPF_JMP | BPF_EXIT },
};

static int try_load(enum bpf_prog_type type, enum bpf_attach_type attach, int btf_id)
{
    LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = attach, .attach_btf_id = (u32)btf_id);
    return bpf_prog_load(type, "wf_try", "GPL", nothing, ARRAY_LEN(nothing), &o);
}

static bool loads(enum bpf_prog_type type, enum bpf_attach_type attach, int btf_id)
{
    int fd = try_load(type, attach, btf_id);
    closep(&fd);
    return fd >= 0;
}

/* The kernel's types, parsed at the first question and kept until features_rest: they are 6 MB. */
static struct btf *kernel_types;
static int kernel_type(const char *name, u32 kind)
{
    if (!kernel_types)
        kernel_types = btf__load_vmlinux_btf();
    return kernel_types ? btf__find_by_name_kind(kernel_types, name, kind) : -ENOENT;
}

void features_rest(void)
{
    btf__free(take_ptr(kernel_types));
    malloc_trim(0); /* loading took tens of MB for a moment */
}

static int tracepoint_id(const char *name)
{
    char type[128];
    snprintf(type, sizeof(type), "btf_trace_%s", name);
    return kernel_type(type, BTF_KIND_TYPEDEF);
}

bool feature_tracepoint(const char *name) { return tracepoint_id(name) > 0; }
bool feature_function(const char *name) { return kernel_type(name, BTF_KIND_FUNC) > 0; }

static bool probe_bpf(void)
{
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "wf_try", 4, 4, 1, NULL);
    closep(&fd);
    return fd >= 0 && loads(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0);
}
static bool probe_btf(void) { return !access("/sys/kernel/btf/vmlinux", R_OK); }
static bool probe_ringbuf(void) { return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1; }
static bool probe_tp_btf(void)
{
    int id = tracepoint_id("sched_process_exec");
    return id > 0 && loads(BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, id);
}
static bool probe_raw_tp(void)
{
    int fd = try_load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0);
    int link = fd >= 0 ? bpf_raw_tracepoint_open("sched_process_exec", fd) : -1;
    bool ok = link >= 0;
    closep(&link);
    closep(&fd);
    return ok;
}
static bool probe_fentry(void)
{
    int id = kernel_type("inet_sendmsg", BTF_KIND_FUNC);
    int fd = id > 0 ? try_load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, id) : -1;
    int link = fd >= 0 ? bpf_raw_tracepoint_open(NULL, fd) : -1;
    bool ok = link >= 0;
    closep(&link);
    closep(&fd);
    return ok;
}
static bool probe_kprobe(void)
{
    return !access("/sys/bus/event_source/devices/kprobe/type", R_OK) && loads(BPF_PROG_TYPE_KPROBE, 0, 0);
}
static bool probe_uprobe(void)
{
    return !access("/sys/bus/event_source/devices/uprobe/type", R_OK) && loads(BPF_PROG_TYPE_KPROBE, 0, 0);
}
/* A kernel that knows the link type refuses the file «/» with EBADF; one that doesn't says EINVAL. */
static bool probe_uprobe_multi(void)
{
    unsigned long offset = 0;
    LIBBPF_OPTS(bpf_link_create_opts, o, .uprobe_multi.path = "/", .uprobe_multi.offsets = &offset, .uprobe_multi.cnt = 1);
    int fd = try_load(BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI, 0);
    if (fd < 0)
        return false;
    int link = bpf_link_create(fd, -1, BPF_TRACE_UPROBE_MULTI, &o);
    int err = link < 0 ? errno : 0;
    closep(&link);
    closep(&fd);
    return err == EBADF;
}
static bool probe_cookie(void) { return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie, NULL) == 1; }
static bool probe_sock_length(void) { return feature_tracepoint("sock_send_length") && feature_tracepoint("sock_recv_length"); }
static bool probe_preempted(void) { return feature_kernel() >= 7 << 16; }
static bool probe_new_nops(void) { return feature_kernel() >= (6 << 16 | 16); }

const struct feature_row feature_table[FEATURE_MAX] = {
    [FEATURE_BPF] = { "BPF programs", "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN", probe_bpf },
    [FEATURE_BTF] = { "kernel type information", "needs a kernel built with CONFIG_DEBUG_INFO_BTF", probe_btf },
    [FEATURE_RINGBUF] = { "ring buffer", "needs Linux 5.8", probe_ringbuf },
    [FEATURE_TP_BTF] = { "typed tracepoints", "raw tracepoints are used instead", probe_tp_btf },
    [FEATURE_RAW_TP] = { "raw tracepoints", "needed only where typed ones are refused", probe_raw_tp },
    [FEATURE_FENTRY] = { "function entry and exit", "refused or absent here: tracepoints or kprobes carry the sockets",
                         probe_fentry },
    [FEATURE_KPROBE] = { "kprobes", "absent here: needed only where tracepoints and function exit lack", probe_kprobe },
    [FEATURE_UPROBE] = { "uprobes", "no TLS, no units, no native or USDT rules: needs CONFIG_UPROBES and CAP_PERFMON",
                         probe_uprobe },
    [FEATURE_UPROBE_MULTI] = { "uprobes, many at once", "one perf event per probe instead (before 6.6)", probe_uprobe_multi },
    [FEATURE_COOKIE] = { "attach cookies", "one program per rule site instead (before 5.15)", probe_cookie },
    [FEATURE_SOCK_LENGTH] = { "tracepoints sock_send_length, sock_recv_length", "function exit or kprobes instead (before 6.3)",
                              probe_sock_length },
    [FEATURE_PREEMPTED] = { "tracepoints that may be preempted", "before 7.0 one program for each is enough", probe_preempted },
    [FEATURE_OPTIMISED_NOP] = { "uprobes on multi-byte nops without a single step", "before 6.16 other places are chosen",
                                probe_new_nops },
};

bool feature_has(enum feature f)
{
    static signed char known[FEATURE_MAX]; /* 0 not asked, 1 yes, -1 no */
    if (!known[f])
        known[f] = feature_table[f].probe() ? 1 : -1;
    return known[f] > 0;
}

u32 feature_kernel(void)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
        return 0;
    return major << 16 | (minor & 0xffff);
}

static bool lockdown_confidential(void)
{
    char *text = NULL;
    size_t n;
    bool yes = !read_small_file("/sys/kernel/security/lockdown", 256, &text, &n) && strstr(text, "[confidentiality]");
    free(text);
    return yes;
}

int feature_verdict(char *err, size_t err_size)
{
    if (!feature_has(FEATURE_BPF)) {
        if (lockdown_confidential())
            snprintf(err, err_size,
                     "this kernel is locked down (confidentiality): BPF may not read memory; boot with lockdown=integrity");
        else
            snprintf(err, err_size,
                     "not allowed to load BPF programs: run as root, or grant CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN");
        return -EPERM;
    }
    if (!feature_has(FEATURE_BTF) || !feature_has(FEATURE_RINGBUF)) {
        snprintf(err, err_size, "this kernel lacks %s: wftrace needs Linux 5.10 or later with CONFIG_DEBUG_INFO_BTF",
                 feature_has(FEATURE_BTF) ? "the BPF ring buffer" : "/sys/kernel/btf/vmlinux");
        return -EOPNOTSUPP;
    }
    return 0;
}
