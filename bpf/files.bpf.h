/* Where a descriptor of the running process leads. */
#ifndef WF_FILES_BPF_H
#define WF_FILES_BPF_H

#include "ring.bpf.h"

#define S_KIND 0170000
#define S_FIFO 0010000
#define S_CHAR 0020000

static __always_inline struct inode *fd_inode(u32 fd)
{
    struct task_struct *t = (void *)bpf_get_current_task();
    struct fdtable *table = BPF_CORE_READ(t, files, fdt);
    struct file **fds = BPF_CORE_READ(table, fd), *f = 0;
    if (fd >= BPF_CORE_READ(table, max_fds) || bpf_probe_read_kernel(&f, sizeof(f), &fds[fd]) || !f)
        return 0;
    return BPF_CORE_READ(f, f_inode);
}

/* The pipe's inode number, 0: it is none. */
static __always_inline u64 fd_pipe(u32 fd)
{
    struct inode *inode = fd_inode(fd);
    return inode && (BPF_CORE_READ(inode, i_mode) & S_KIND) == S_FIFO ? BPF_CORE_READ(inode, i_ino) : 0;
}

#endif
