/* needs: base config probe ingest stream protocol workflow trace self */
/* Discovery, record by record, without a kernel: who is put to the user, whose records are dropped, numbers that come back. */
#include "probe/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct bed {
    struct probes p;
    struct control control;
    bool wants, known;
    u32 asked, port;
    pid_t tgid;
};

static bool wants(void *arg, pid_t tgid, u32 port, bool known)
{
    struct bed *b = arg;
    b->asked++;
    b->tgid = tgid;
    b->port = port;
    b->known = known;
    return b->wants;
}

static int setup(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    b->p.control = &b->control;
    b->p.targets_fd = -1; /* what is deleted there is of no matter here */
    assert_int_equal(targets_open(&b->p), 0);
    assert_int_equal(probes_discover(&b->p, &(struct probe_discovery){ wants, b }), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bed *b = *state;
    table_free(b->p.rejected);
    table_free(b->p.procs);
    free(b);
    return 0;
}

static struct rec_hdr header(u16 type, u16 flags, u32 len, u32 tgid)
{
    return (struct rec_hdr){ .type = type, .flags = flags, .len = len, .tgid = tgid, .tid = tgid };
}

static bool exec(struct bed *b, u32 tgid, u16 flags, bool wanted)
{
    struct rec_exec r = { .h = header(REC_EXEC, flags, sizeof(r), tgid) };
    b->wants = wanted;
    return discover_passes(&b->p, &r.h);
}

static bool fork_of(struct bed *b, u32 tgid, u32 child, u32 child_tid)
{
    struct rec_fork r = { .h = header(REC_FORK, 0, sizeof(r), tgid), .child_tgid = child, .child_tid = child_tid };
    return discover_passes(&b->p, &r.h);
}

static bool data(struct bed *b, u32 tgid)
{
    struct rec_data r = { .h = header(REC_DATA, 0, sizeof(r), tgid) };
    return discover_passes(&b->p, &r.h);
}

static bool exit_of(struct bed *b, u32 tgid, u16 flags)
{
    struct rec_exit r = { .h = header(REC_EXIT, flags, sizeof(r), tgid) };
    return discover_passes(&b->p, &r.h);
}

static void test_discovery_is_on(void **state)
{
    struct bed *b = *state;
    assert_int_equal(b->control.discover, 1);
    struct probes off = { 0 };
    struct rec_exec r = { .h = header(REC_EXEC, REC_F_CANDIDATE, sizeof(r), 7) };
    assert_true(discover_passes(&off, &r.h));
}

static void test_wanted_and_not(void **state)
{
    struct bed *b = *state;
    assert_true(exec(b, 10, REC_F_CANDIDATE, true));
    assert_false(b->known);
    assert_true(data(b, 10));
    assert_false(exec(b, 11, REC_F_CANDIDATE, false));
    assert_false(data(b, 11)); /* the ring still holds some */
    assert_true(exec(b, 12, 0, true));
    assert_true(b->known); /* no candidate: a child of a target */
    assert_int_equal(b->asked, 3);
    assert_int_equal(b->tgid, 12);
}

static void test_children_of_rejected(void **state)
{
    struct bed *b = *state;
    assert_false(exec(b, 10, REC_F_CANDIDATE, false));
    assert_false(fork_of(b, 10, 20, 20));
    assert_false(data(b, 20));
    assert_false(fork_of(b, 10, 10, 21)); /* a thread: no process of its own */
    assert_true(data(b, 21));
    assert_true(exec(b, 20, 0, true)); /* another program is asked about anew, and was no target */
    assert_false(b->known);
    assert_true(data(b, 20));
}

static void test_end_of_rejected(void **state)
{
    struct bed *b = *state;
    assert_false(exec(b, 10, REC_F_CANDIDATE, false));
    assert_false(exit_of(b, 10, REC_F_THREAD));
    assert_false(data(b, 10));
    assert_false(exit_of(b, 10, 0));
    assert_true(data(b, 10));
}

/* The kernel tells no end of a process that was let go. Its number is a wanted one's child now. */
static void test_number_again(void **state)
{
    struct bed *b = *state;
    assert_true(exec(b, 10, REC_F_CANDIDATE, true));
    assert_false(exec(b, 11, REC_F_CANDIDATE, false));
    assert_true(fork_of(b, 10, 10, 11)); /* a thread's number says nothing of a process */
    assert_false(data(b, 11));
    assert_true(fork_of(b, 10, 11, 11));
    assert_true(data(b, 11));
    assert_true(fork_of(b, 11, 30, 30));
    assert_true(exit_of(b, 11, 0));
}

static void test_port(void **state)
{
    struct bed *b = *state;
    assert_false(exec(b, 10, REC_F_CANDIDATE, false));
    struct rec_listen r = { .h = header(REC_LISTEN, 0, sizeof(r), 10), .port = 8080 };
    b->wants = true;
    assert_true(discover_passes(&b->p, &r.h));
    assert_int_equal(b->port, 8080);
    assert_false(b->known);
    assert_true(data(b, 10));
    r.h.len = sizeof(r.h); /* cut off: no port to ask about */
    b->asked = 0;
    assert_true(discover_passes(&b->p, &r.h));
    assert_int_equal(b->asked, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = { T(test_discovery_is_on), T(test_wanted_and_not), T(test_children_of_rejected),
                                        T(test_end_of_rejected), T(test_number_again),   T(test_port) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
