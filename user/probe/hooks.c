/* The hooks in the kernel and the forms in which each can be had, best first. */
#include "probe/internal.h"

const char *const form_name[FORM_MAX] = { "tp_btf chain", "tp_btf", "raw_tp", "fentry", "kprobe" };

#define CHAINED(hook)                                                                                                            \
    {                                                                                                                            \
        { FORM_TP_CHAIN, { #hook "_first", #hook "_second", #hook "_third" }, { #hook, #hook, #hook } },                         \
            { FORM_TP_BTF, { #hook "_tp_btf" }, { #hook } }, { FORM_RAW_TP, { #hook "_raw_tp" }, { #hook } },                    \
    }
#define TRACEPOINT(hook)                                                                                                         \
    {                                                                                                                            \
        { FORM_TP_BTF, { #hook "_tp_btf" }, { #hook } }, { FORM_RAW_TP, { #hook "_raw_tp" }, { #hook } },                        \
    }

const struct hook hook_table[HOOKS_MAX] = {
    { "process fork", OBJ_PROC, CHAINED(sched_process_fork), "children are not followed" },
    { "process exec", OBJ_PROC, CHAINED(sched_process_exec), "programs started are not seen" },
    { "process exit", OBJ_PROC, CHAINED(sched_process_exit), "exit codes are not seen" },
    { "process title", OBJ_PROC, CHAINED(task_rename), "changes of title are not seen" },
    { "out of memory", OBJ_PROC, TRACEPOINT(mark_victim), "an OOM kill looks like any SIGKILL" },
    { "connection state", OBJ_SOCK, CHAINED(inet_sock_set_state), "no roles, failed connects and closes of connections" },
    { "connection end", OBJ_SOCK, CHAINED(tcp_destroy_sock), "connections stay open until their process ends" },
    { "socket data",
      OBJ_SOCK,
      {
          { FORM_TP_CHAIN,
            { "sock_send_length_first", "sock_send_length_second", "sock_send_length_third", "sock_recv_length_first",
              "sock_recv_length_second", "sock_recv_length_third" },
            { "sock_send_length", "sock_send_length", "sock_send_length", "sock_recv_length", "sock_recv_length",
              "sock_recv_length" } },
          { FORM_TP_BTF, { "sock_send_length_tp_btf", "sock_recv_length_tp_btf" }, { "sock_send_length", "sock_recv_length" } },
          { FORM_FENTRY,
            { "inet_sendmsg_fexit", "inet6_sendmsg_fexit", "unix_stream_sendmsg_fexit", "inet_recvmsg_fexit",
              "inet6_recvmsg_fexit", "unix_stream_recvmsg_fexit", "inet_sendpage_fexit" },
            { "inet_sendmsg", "inet6_sendmsg", "unix_stream_sendmsg", "inet_recvmsg", "inet6_recvmsg", "unix_stream_recvmsg",
              "inet_sendpage" } },
          { FORM_KPROBE,
            { "inet_sendmsg_k", "inet6_sendmsg_k", "unix_stream_sendmsg_k", "inet_recvmsg_k", "inet6_recvmsg_k",
              "unix_stream_recvmsg_k", "inet_sendpage_k" },
            { "inet_sendmsg", "inet6_sendmsg", "unix_stream_sendmsg", "inet_recvmsg", "inet6_recvmsg", "unix_stream_recvmsg",
              "inet_sendpage" } },
      },
      "no messages of any protocol" },
};
const size_t hook_count = 8;

static bool form_possible(const struct hook_form *f)
{
    static const enum feature need[FORM_MAX] = { FEATURE_PREEMPTED, FEATURE_TP_BTF, FEATURE_RAW_TP, FEATURE_FENTRY,
                                                 FEATURE_KPROBE };
    if (!f->progs[0] || !feature_has(need[f->form]))
        return false;
    if (f->form == FORM_TP_CHAIN && !feature_has(FEATURE_TP_BTF))
        return false;
    if (form_is_tracepoint(f->form))
        return feature_tracepoint(f->functions[0]);
    return feature_function(f->functions[0]);
}

static bool form_forced(enum form f, const char *force)
{
    const char *at = force ? strstr(force, form_name[f]) : NULL;
    size_t n = strlen(form_name[f]);
    return at && (at == force || at[-1] == ',') && (!at[n] || at[n] == ',');
}

enum form hook_pick(const struct hook *h, const char *force, const struct hook_form **ret_row)
{
    for (int forced = force ? 1 : 0; forced >= 0; forced--) {
        for (size_t i = 0; i < ARRAY_LEN(h->forms); i++) {
            const struct hook_form *f = &h->forms[i];
            if ((!forced || form_forced(f->form, force)) && form_possible(f)) {
                *ret_row = f;
                return f->form;
            }
        }
    }
    return FORM_MAX;
}
