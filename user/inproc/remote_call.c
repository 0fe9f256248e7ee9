/* ptrace, as little of it as will do.
 *
 * A thread that waits in a system call has been interrupted there by the stop: the kernel will restart the call (or say EINTR)
 * when the thread goes on with its own registers. Our call runs in between with registers of its own; «not in a system call»
 * (orig_rax = -1) keeps the kernel from restarting that. All registers, vector ones too, are put back. The called
 * function returns to address 0: that fault is ours and is not delivered. */
#include "remote_call.h"

#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "python_process.h"

#if defined(__x86_64__)

#define RED_ZONE  128
#define STATE_MAX 16384 /* of the vector registers */

struct remote {
    pid_t tid;
    u64 owed; /* signals that came while a call of ours was being stepped over, by bit: its own, once it is let go */
    struct user_regs_struct regs;
    struct iovec vector;
    u8 state[STATE_MAX];
    bool gone;
};

static u64 now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / NSEC_PER_MSEC;
}

/* Waits for a stop until `until` (0: for ever); its status, -ETIMEDOUT or -ECHILD. */
static int wait_stop(struct remote *r, u64 until)
{
    for (;;) {
        int status = 0;
        pid_t got = waitpid(r->tid, &status, __WALL | (until ? WNOHANG : 0));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || (got == r->tid && (WIFEXITED(status) || WIFSIGNALED(status)))) {
            r->gone = true;
            return -ECHILD;
        }
        if (got == r->tid)
            return status;
        if (until && now_ms() > until)
            return -ETIMEDOUT;
        usleep(500);
    }
}

static bool in_syscall(const struct remote *r) { return (long long)r->regs.orig_rax >= 0; }

static int take_registers(struct remote *r)
{
    r->vector = (struct iovec){ r->state, sizeof r->state };
    if (ptrace(PTRACE_GETREGS, r->tid, 0, &r->regs) < 0)
        return -errno;
    return ptrace(PTRACE_GETREGSET, r->tid, (void *)NT_X86_XSTATE, &r->vector) < 0 ? -errno : 0;
}

/* From a stop at an instruction on to the end of its next system call. Signals on the way are the thread's own. */
static int run_to_syscall(struct remote *r)
{
    u64 until = now_ms() + 2000;
    long signal = 0;
    for (int syscalls = 0; syscalls < 2;) {
        if (ptrace(PTRACE_SYSCALL, r->tid, 0, signal) < 0)
            return -errno;
        int status = wait_stop(r, until);
        if (status == -ETIMEDOUT) { /* stop it again, to let it go */
            ptrace(PTRACE_INTERRUPT, r->tid, 0, 0);
            (void)wait_stop(r, now_ms() + 1000);
            return -EAGAIN;
        }
        if (status < 0)
            return status;
        bool event = status >> 16, syscall = WSTOPSIG(status) == (SIGTRAP | 0x80);
        syscalls += syscall;
        signal = syscall || event ? 0 : WSTOPSIG(status);
    }
    int err = take_registers(r);
    r->regs.orig_rax = (unsigned long long)-1; /* done: nothing to restart */
    return err;
}

static int hold(struct remote *r)
{
    if (ptrace(PTRACE_SEIZE, r->tid, 0, PTRACE_O_TRACESYSGOOD) < 0)
        return errno == EPERM ? -EPERM : -errno;
    if (ptrace(PTRACE_INTERRUPT, r->tid, 0, 0) < 0)
        return -errno;
    int status;
    /* A signal may be first; it is given back, and the interruption comes after. */
    for (int i = 0; (status = wait_stop(r, now_ms() + 2000)) >= 0 && !(status >> 16) && i < 16; i++)
        if (ptrace(PTRACE_CONT, r->tid, 0, (long)WSTOPSIG(status)) < 0)
            return -errno;
    if (status < 0)
        return status == -ETIMEDOUT ? -EAGAIN : -ESRCH;
    int err = take_registers(r);
    return err || in_syscall(r) ? err : run_to_syscall(r);
}

int remote_open(pid_t tid, struct remote **ret)
{
    struct remote *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->tid = tid;
    int err = hold(r);
    if (err) {
        if (!r->gone)
            ptrace(PTRACE_DETACH, tid, 0, 0);
        free(r);
        return err;
    }
    *ret = r;
    return 0;
}

void remote_closep(struct remote **at)
{
    struct remote *r = take_ptr(*at);
    if (r && !r->gone)
        ptrace(PTRACE_DETACH, r->tid, 0, 0);
    for (int signal = 1; r && !r->gone && r->owed && signal <= 64; signal++)
        if (r->owed >> (signal - 1) & 1)
            (void)syscall(SYS_tgkill, r->tid, r->tid, signal);
    free(r);
}

bool remote_waits(const struct remote *r)
{
    static const int waits[] = { SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_poll,   SYS_ppoll,   SYS_select,
                                 SYS_pselect6,   SYS_nanosleep,   SYS_clock_nanosleep, SYS_accept, SYS_accept4, SYS_wait4,
                                 SYS_waitid,     SYS_pause,       SYS_rt_sigtimedwait };
    for (u32 i = 0; i < ARRAY_LEN(waits); i++)
        if ((long long)r->regs.orig_rax == waits[i])
            return true;
    return false;
}

void remote_interrupt(struct remote *r)
{
    if ((long long)r->regs.orig_rax != SYS_futex)
        return;
    r->regs.rax = (unsigned long long)-EINTR;
    r->regs.orig_rax = (unsigned long long)-1;
    ptrace(PTRACE_SETREGS, r->tid, 0, &r->regs);
}

/* Runs from `regs` to the fault at address 0, then puts the thread's own registers back. */
static int run(struct remote *r, struct user_regs_struct *regs, u64 *ret)
{
    int err = ptrace(PTRACE_SETREGS, r->tid, 0, regs) < 0 ? -errno : 0;
    for (long signal = 0; !err;) {
        if (ptrace(PTRACE_CONT, r->tid, 0, signal) < 0)
            return -errno;
        int status = wait_stop(r, 0);
        if (status < 0)
            return status;
        signal = status >> 16 ? 0 : WSTOPSIG(status);
        struct user_regs_struct now;
        if (signal != SIGSEGV || ptrace(PTRACE_GETREGS, r->tid, 0, &now) < 0 || now.rip)
            continue;
        *ret = now.rax;
        break;
    }
    if (ptrace(PTRACE_SETREGS, r->tid, 0, &r->regs) < 0)
        err = -errno;
    if (ptrace(PTRACE_SETREGSET, r->tid, (void *)NT_X86_XSTATE, &r->vector) < 0)
        err = -errno;
    return err;
}

int remote_call(struct remote *r, u64 function, u64 a, u64 b, u64 *ret)
{
    struct user_regs_struct regs = r->regs;
    u64 zero = 0;
    regs.rsp = ((regs.rsp - RED_ZONE) & ~63ull) - 8; /* as after a call: 8 below a multiple of 16 */
    regs.rip = function;
    regs.rdi = a;
    regs.rsi = b;
    regs.rax = 0;
    regs.orig_rax = (unsigned long long)-1;
    regs.eflags &= ~0x400ull; /* direction forward */
    int err = memory_write(r->tid, regs.rsp, &zero, sizeof zero);
    return err ? err : run(r, &regs, ret);
}

/* One instruction. A signal may stop the thread before it: that is kept for later, for its handler would run on our registers. */
static int step(struct remote *r)
{
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, r->tid, 0, 0) < 0)
            return -errno;
        int status = wait_stop(r, 0), signal = WSTOPSIG(status);
        if (status < 0)
            return status;
        if (status >> 16 || signal < 1 || signal > 64)
            continue;
        if (signal == SIGTRAP)
            return 0;
        r->owed |= 1ull << (signal - 1);
    }
}

/* The instruction before the program counter is the system call that it waits in, or has just made: make one of ours with it. */
static int remote_syscall(struct remote *r, struct user_regs_struct *regs, u64 *ret)
{
    u8 code[2];
    regs->rip = r->regs.rip - 2;
    regs->orig_rax = (unsigned long long)-1;
    int err = memory_read(r->tid, regs->rip, code, 2);
    if (err)
        return err;
    if (code[0] != 0x0f || code[1] != 0x05)
        return -ENOTSUP;
    if (ptrace(PTRACE_SETREGS, r->tid, 0, regs) < 0)
        return -errno;
    if ((err = step(r)))
        return err;
    struct user_regs_struct now;
    if (ptrace(PTRACE_GETREGS, r->tid, 0, &now) < 0)
        return -errno;
    *ret = now.rax;
    return ptrace(PTRACE_SETREGS, r->tid, 0, &r->regs) < 0 ? -errno : 0;
}

int remote_text(struct remote *r, const char *text, u64 *ret)
{
    struct user_regs_struct regs = r->regs;
    size_t n = strlen(text) + 1;
    u64 at = 0;
    regs.rax = SYS_mmap;
    regs.rdi = 0;
    regs.rsi = (n + 4095) & ~(size_t)4095;
    regs.rdx = PROT_READ | PROT_WRITE;
    regs.r10 = MAP_PRIVATE | MAP_ANONYMOUS;
    regs.r8 = (unsigned long long)-1;
    regs.r9 = 0;
    int err = remote_syscall(r, &regs, &at);
    if (err)
        return err;
    if (at > -4096ull)
        return (int)at;
    *ret = at;
    return memory_write(r->tid, at, text, n);
}

#else

int remote_open(pid_t tid, struct remote **ret) { return -ENOTSUP; }
void remote_closep(struct remote **r) { UNUSED(r); }
bool remote_waits(const struct remote *r) { return false; }
void remote_interrupt(struct remote *r) { UNUSED(r); }
int remote_call(struct remote *r, u64 function, u64 a, u64 b, u64 *ret) { return -ENOTSUP; }
int remote_text(struct remote *r, const char *text, u64 *ret) { return -ENOTSUP; }

#endif
