/* The kernel types that we read, by hand: only the fields we touch, located at load time through CO-RE
 * (preserve_access_index), so their order and offsets here mean nothing. A name with a triple underscore and a suffix
 * is one kernel's flavour of a type; CO-RE drops the suffix. Registers are the exception: struct pt_regs is a fixed
 * layout per architecture and written out in full. (bpf_tracing.h recognises the guard's name.) */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;
#define true 1
#define false 0

enum bpf_map_type {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PERCPU_HASH = 5,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_RINGBUF = 27,
    BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum {
    BPF_ANY = 0,
    BPF_NOEXIST = 1,
    BPF_F_NO_PREALLOC = 1,
    BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
    BPF_F_MMAPABLE = 1024,
};
enum {
    BPF_RB_NO_WAKEUP = 1,
    BPF_RB_FORCE_WAKEUP = 2,
};
enum {
    BPF_RB_AVAIL_DATA = 0,
    BPF_RB_RING_SIZE = 1,
};
/* For existence checks: which helpers this kernel has. */
enum bpf_func_id {
    BPF_FUNC_get_attach_cookie = 174, /* 5.15 */
    BPF_FUNC_task_pt_regs = 175,      /* 5.15 */
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
    __u64 regs[31];
    __u64 sp, pc, pstate;
};
struct pt_regs {
    union {
        struct user_pt_regs user_regs;
        struct {
            u64 regs[31];
            u64 sp, pc, pstate;
        };
    };
    u64 orig_x0;
    s32 syscallno;
    u32 unused2;
};
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    int counter;
} atomic_t;
typedef struct {
    u32 val;
} kuid_t;
struct thread_info {
    unsigned long flags;
    u32 status; /* x86: TS_COMPAT */
};
#if defined(__TARGET_ARCH_x86)
struct thread_struct {
    unsigned long fsbase;
};
#else
struct thread_struct {
    struct {
        unsigned long tp_value;
    } uw;
};
#endif
struct task_io_accounting {
    u64 read_bytes, write_bytes; /* CONFIG_TASK_IO_ACCOUNTING */
};
struct sched_entity {
    u64 sum_exec_runtime;
};
struct cred {
    kuid_t uid;
};
struct mm_struct {
    unsigned long arg_start, arg_end;
};
struct signal_struct {
    atomic_t live;
    int group_exit_code;
    unsigned int flags;
    u64 utime, stime;
    unsigned long long sum_sched_runtime;
    unsigned long maxrss;
    struct task_io_accounting ioac;
};
struct files_struct;
struct task_struct {
    struct thread_info thread_info;
    void *stack;
    int pid, tgid;
    int exit_code;
    unsigned int in_execve : 1;
    struct task_struct *real_parent, *group_leader;
    u64 utime, stime;
    u64 start_boottime; /* real_start_time before 5.5 */
    struct sched_entity se;
    const struct cred *cred;
    struct mm_struct *mm;
    struct signal_struct *signal;
    struct task_io_accounting ioac;
    char comm[16];
    struct thread_struct thread;
    struct files_struct *files;
};
struct linux_binprm {
    const char *filename;
};
struct trace_event_raw_mark_victim {
    int pid;
    u32 __data_loc_comm; /* since 6.9, when the tracepoint's argument became the task */
};

struct in6_addr {
    union {
        u8 u6_addr8[16];
    } in6_u;
};
struct ns_common {
    unsigned int inum;
};
struct net {
    struct ns_common ns;
};
typedef struct {
    struct net *net;
} possible_net_t;
struct sock_common {
    __be32 skc_daddr, skc_rcv_saddr;
    __be16 skc_dport;
    u16 skc_num;
    unsigned short skc_family;
    volatile unsigned char skc_state;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct inode {
    unsigned short i_mode;
    u32 i_rdev;
    unsigned long i_ino;
};
struct file {
    struct inode *f_inode;
};
struct socket;
struct sock {
    struct sock_common __sk_common;
    int sk_err;
    struct socket *sk_socket;
    u16 sk_type, sk_protocol;
};
struct socket {
    struct file *file;
    struct sock *sk;
};
struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};
struct files_struct {
    struct fdtable *fdt;
};
struct socket_alloc {
    struct socket socket;
    struct inode vfs_inode;
};
struct unix_address {
    int len;
};
struct unix_sock {
    struct sock sk;
    struct unix_address *addr;
    struct sock *peer;
};
struct msghdr {
    unsigned int msg_flags;
};

#pragma clang attribute pop

#endif
