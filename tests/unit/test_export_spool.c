/* needs: base self trace stream protocol ingest export store gen */
/* The disk spool: order, restart, damage at every byte, limits, a disk that fills up, kill -9. */
#include "export/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct {
    u64 lost[CAUSE_MAX];
} told;
static void on_lost(void *arg, enum export_cause cause, u64 items) { told.lost[cause] += items; }

static char dir[64];
static int setup(void **state)
{
    strcpy(dir, "/tmp/wf-spool-XXXXXX");
    memset(&told, 0, sizeof(told));
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state)
{
    char line[100];
    snprintf(line, sizeof(line), "rm -rf %s", dir);
    return system(line);
}

static struct spool *open_with(struct spool_options o)
{
    struct spool *s = NULL;
    char err[300] = "";
    o.dir = dir;
    if (spool_open(&o, "lane", on_lost, NULL, &s, err, sizeof(err)))
        fail_msg("%s", err);
    return s;
}
static struct spool *open_default(void) { return open_with((struct spool_options){ 0 }); }

/* Body number k: its number, then filler of a length that differs. */
static struct slice body_of(u32 k)
{
    static u8 buf[70000];
    memset(buf, (int)(k * 7), sizeof(buf));
    memcpy(buf, &k, sizeof(k));
    return slice_of(buf, 20 + k % 50);
}
static void put(struct spool *s, u32 k) { assert_int_equal(spool_append(s, body_of(k), k % 5 + 1), 0); }

/* The next record's number, after checking it to the byte; 0: none. */
static u32 get(struct spool *s, bool done)
{
    struct spool_record r;
    u32 k;
    int e = spool_next(s, &r);
    if (!e)
        return 0;
    assert_int_equal(e, 1);
    memcpy(&k, r.body.p, sizeof(k));
    struct slice want = body_of(k);
    assert_int_equal(r.body.n, want.n);
    assert_memory_equal(r.body.p, want.p, want.n);
    assert_int_equal(r.items, k % 5 + 1);
    if (done)
        spool_done(s, &r);
    return k;
}

static void what_goes_in_comes_out_in_order(void **state)
{
    struct spool *s = open_with((struct spool_options){ .segment_bytes = 500 });
    struct spool_state st;
    for (u32 k = 1; k <= 100; k++)
        put(s, k);
    spool_state(s, &st);
    assert_int_equal(st.records, 100);
    assert_int_equal(st.items, 300);
    assert_true(st.bytes > 100 * 60 && st.oldest_ns);
    for (u32 k = 1; k <= 100; k++) {
        assert_int_equal(get(s, false), k); /* until it is done, it is the next */
        assert_int_equal(get(s, true), k);
        if (k % 10 == 0)
            put(s, 100 + k / 10);
    }
    for (u32 k = 101; k <= 110; k++)
        assert_int_equal(get(s, true), k);
    assert_int_equal(get(s, true), 0);
    spool_state(s, &st);
    assert_int_equal(st.records + st.items, 0);
    assert_true(st.bytes < 1000); /* what was sent is off the disk */
    for (size_t i = 0; i < CAUSE_MAX; i++)
        assert_int_equal(told.lost[i], 0);
    spool_close(s);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    u32 next_in = 1, next_out = 1;
    for (u32 round = 0; round < 20; round++) {
        struct spool *s = open_with((struct spool_options){ .segment_bytes = 300, .fsync = (enum spool_fsync)(round % 3) });
        for (u32 i = 0; i < 7; i++)
            put(s, next_in++);
        for (u32 i = 0; i < 5; i++)
            assert_int_equal(get(s, true), next_out++);
        get(s, false); /* sent, but no answer came */
        spool_close(s);
    }
    struct spool *s = open_default();
    while (next_out < next_in)
        assert_int_equal(get(s, true), next_out++);
    assert_int_equal(get(s, true), 0);
    spool_close(s);
    for (size_t i = 0; i < CAUSE_MAX; i++)
        assert_int_equal(told.lost[i], 0);
}

static void one_process_at_a_time(void **state)
{
    struct spool *s = open_default(), *other;
    struct spool_options o = { .dir = dir };
    char err[300] = "";
    assert_int_equal(spool_open(&o, "lane", on_lost, NULL, &other, err, sizeof(err)), -EBUSY);
    assert_non_null(strstr(err, "in use by another wftrace"));
    spool_close(s);
    spool_close(open_default());
    o.dir = "/proc/nowhere";
    assert_true(spool_open(&o, "lane", on_lost, NULL, &other, err, sizeof(err)) < 0);
    assert_non_null(strstr(err, "cannot use the spool /proc/nowhere/lane"));
}

static void the_oldest_go_when_it_is_full(void **state)
{
    struct spool *s = open_with((struct spool_options){ .max_bytes = 4000, .segment_bytes = 500 });
    struct spool_state st;
    u64 items = 0, sent = 0;
    for (u32 k = 1; k <= 200; k++, items += (k - 1) % 5 + 1) {
        put(s, k);
        spool_state(s, &st);
        assert_true(st.bytes <= 4000);
    }
    u32 first = get(s, false), last = 0;
    assert_true(first > 100);
    for (u32 k; (k = get(s, true)); last = k, sent += k % 5 + 1)
        assert_true(!last || k == last + 1);
    assert_int_equal(last, 200);
    assert_int_equal(told.lost[CAUSE_SPOOL_FULL] + sent, items);
    assert_int_equal(told.lost[CAUSE_SPOOL_CORRUPT], 0);
    assert_int_equal(spool_append(s, slice_of(dir, 5000), 1), -EFBIG);
    spool_close(s);
}

/* The record that is on its way to the receiver while its segment goes is lost when it does not arrive, and only then. */
static void a_dropped_record_on_its_way_counts_once(void **state)
{
    for (int arrives = 0; arrives < 3; arrives++) { /* 0: no, and the next is asked for; 1: yes; 2: no, and it is the end */
        struct spool *s = open_with((struct spool_options){ .max_bytes = 2000, .segment_bytes = 500 });
        struct spool_record r;
        struct spool_state st;
        u64 items = 0, sent = 0;
        memset(&told, 0, sizeof(told));
        for (u32 k = 1; k <= 5; k++)
            put(s, k), items += k % 5 + 1;
        assert_int_equal(spool_next(s, &r), 1);
        for (u32 k = 6; k <= 100; k++)
            put(s, k), items += k % 5 + 1;
        spool_state(s, &st);
        assert_int_equal(told.lost[CAUSE_SPOOL_FULL] + st.items + r.items, items);
        if (arrives == 1) {
            sent = r.items;
            spool_done(s, &r);
        }
        while (arrives < 2 && spool_next(s, &r) == 1) {
            sent += r.items;
            spool_done(s, &r);
        }
        spool_close(s);
        assert_int_equal(told.lost[CAUSE_SPOOL_FULL] + sent + (arrives < 2 ? 0 : st.items), items);
        assert_int_equal(teardown(state) | setup(state), 0);
    }
}

static void what_is_too_old_is_passed_over(void **state)
{
    struct spool *s = open_with((struct spool_options){ .max_age_ns = 50 * NSEC_PER_MSEC });
    put(s, 1), put(s, 2);
    usleep(80000);
    put(s, 3);
    assert_int_equal(get(s, true), 3);
    assert_int_equal(told.lost[CAUSE_SPOOL_AGE], 2 + 3);
    assert_int_equal(told.lost[CAUSE_SPOOL_CORRUPT], 0);
    spool_close(s);
}

/* --- damage --- */

static void segment_path(char *out, size_t size) { snprintf(out, size, "%s/lane/%016x.seg", dir, 1); }

static u8 *segment_load(size_t *ret_n)
{
    char path[200], *text = NULL;
    segment_path(path, sizeof(path));
    assert_int_equal(read_small_file(path, 1 << 20, &text, ret_n), 0);
    return (u8 *)text;
}
static void segment_store(const u8 *p, size_t n)
{
    char path[200];
    segment_path(path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
}

#define RECORDS 6
static const u64 record_items[RECORDS + 1] = { 0, 2, 3, 4, 5, 1, 2 };

/* Everything that can be read from the damaged segment, and then something new. Bit k of the answer: record k came. */
static u32 survivors(u64 *ret_lost)
{
    memset(&told, 0, sizeof(told));
    struct spool *s = open_default();
    u32 seen = 0, last = 0;
    put(s, 9);
    for (u32 k; (k = get(s, true)); last = k) {
        assert_true(k > last);
        seen |= 1u << k;
    }
    assert_int_equal(last, 9);
    *ret_lost = told.lost[CAUSE_SPOOL_CORRUPT];
    spool_close(s);
    return seen & ~(1u << 9);
}

static size_t six_records(u8 **ret)
{
    size_t n;
    struct spool *s = open_default();
    for (u32 k = 1; k <= RECORDS; k++)
        put(s, k);
    spool_close(s);
    *ret = segment_load(&n);
    return n;
}

static u64 items_missing(u32 seen)
{
    u64 n = 0;
    for (u32 k = 1; k <= RECORDS; k++)
        n += seen & 1u << k ? 0 : record_items[k];
    return n;
}

/* Each byte in turn is another one (three ways): at most the record it is in is lost, and the count says so. */
static void every_byte_may_be_wrong(void **state)
{
    static const u8 flip[] = { 0xff, 0x01, 0x80 };
    cleanup(freep) u8 *good = NULL, *bad = NULL;
    size_t n = six_records(&good), hurt = 0;
    bad = malloc(n);
    for (size_t at = 0; at < n; at++)
        for (size_t f = 0; f < ARRAY_LEN(flip); f++) {
            u64 lost;
            memcpy(bad, good, n);
            bad[at] ^= flip[f];
            segment_store(bad, n);
            u32 seen = survivors(&lost), gone = (u32)__builtin_popcount(0x7eu & ~seen);
            if (gone > 1)
                fail_msg("byte %zu ^ %02x: %u records lost", at, flip[f], gone);
            bool last = gone && !(seen & 1u << RECORDS);
            if (last ? !lost : lost != items_missing(seen)) /* how many were in the very last is not always known */
                fail_msg("byte %zu ^ %02x: %llu items told lost, %llu were", at, flip[f], (unsigned long long)lost,
                         (unsigned long long)items_missing(seen));
            hurt += gone;
        }
    assert_true(hurt > n); /* of 3n flips; only the state word may be wrong for nothing */
}

/* The file ends after each byte in turn, as a power cut leaves it. */
static void every_length_may_be_the_last(void **state)
{
    cleanup(freep) u8 *good = NULL;
    size_t n = six_records(&good), at = 0, whole = 0;
    size_t end[RECORDS + 1] = { 0 };
    for (u32 k = 1; k <= RECORDS; k++)
        end[k] = end[k - 1] + 40 + body_of(k).n;
    assert_int_equal(end[RECORDS], n);
    for (; at <= n; at++) {
        u64 lost;
        segment_store(good, at);
        while (whole < RECORDS && end[whole + 1] <= at)
            whole++;
        u32 seen = survivors(&lost);
        assert_int_equal(seen, (1u << (whole + 1)) - 2);
        u64 torn = at - end[whole];
        assert_int_equal(lost, !torn ? 0 : torn >= 40 ? record_items[whole + 1] : 1);
    }
}

static void bytes_that_never_were_records_do_no_harm(void **state)
{
    u8 junk[5000];
    u64 lost;
    cleanup(freep) u8 *good = NULL;
    size_t n = six_records(&good);
    for (u32 seed = 1; seed < 200; seed++) {
        for (size_t i = 0; i < sizeof(junk); i++)
            junk[i] = (u8)hash_u64(seed * 100000 + i);
        size_t at = hash_u64(seed) % (sizeof(junk) - n);
        memcpy(junk + at, good, n); /* the records stand in the middle of it */
        segment_store(junk, sizeof(junk));
        assert_int_equal(survivors(&lost), 0x7e);
        memcpy(junk + at, "WFR1\xff\xff\xff\x7f", 8);
        segment_store(junk, sizeof(junk));
        assert_int_equal(survivors(&lost), 0x7c);
    }
}

/* --- a full disk --- */

static void a_full_disk_leaves_whole_records(void **state)
{
    char line[200];
    snprintf(line, sizeof(line), "mount -t tmpfs -o size=64k tmpfs %s 2>/dev/null", dir);
    if (system(line))
        skip();
    struct spool *s = open_with((struct spool_options){ .segment_bytes = 1 << 20 });
    struct slice big = slice_of(body_of(3).p, 9000);
    int e = 0, kept = 0;
    for (; kept < 100 && !(e = spool_append(s, big, 1)); kept++)
        ;
    assert_int_equal(e, -ENOSPC);
    assert_true(kept >= 4 && kept < 8);
    struct spool_record r;
    assert_int_equal(spool_next(s, &r), 1);
    assert_int_equal(r.body.n, 9000);
    spool_close(s);
    s = open_default();
    for (int i = 0; i < kept; i++) {
        assert_int_equal(spool_next(s, &r), 1);
        spool_done(s, &r);
    }
    assert_int_equal(spool_next(s, &r), 0);
    assert_int_equal(spool_append(s, big, 1), 0); /* what was sent has made room */
    assert_int_equal(told.lost[CAUSE_SPOOL_CORRUPT], 0);
    spool_close(s);
    snprintf(line, sizeof(line), "umount -l %s", dir);
    assert_int_equal(system(line), 0);
}

/* --- kill -9 --- */

/* The child appends and sends as fast as it can and says on a pipe what it appended (after) and what it is done with (before). */
static void child_works(int out, u32 from)
{
    struct spool *s = open_with((struct spool_options){ .segment_bytes = 2000 });
    for (u32 k = from;; k++) {
        put(s, k);
        dprintf(out, "+%u\n", k);
        if (k % 3)
            continue;
        struct spool_record r;
        u32 sent;
        if (spool_next(s, &r) != 1)
            continue;
        memcpy(&sent, r.body.p, sizeof(sent));
        dprintf(out, "-%u\n", sent);
        spool_done(s, &r);
    }
}

static void nothing_that_was_kept_is_lost_by_kill_9(void **state)
{
    static u8 in[4000000], out[4000000];
    u32 next = 1;
    for (int round = 0; round < 40; round++) {
        int p[2];
        assert_int_equal(pipe(p), 0);
        fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
        pid_t pid = fork();
        if (!pid) {
            close(p[0]);
            child_works(p[1], next);
            _exit(0);
        }
        close(p[1]);
        usleep(3000 + (useconds_t)(hash_u64((u64)round) % 9000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        FILE *f = fdopen(p[0], "r");
        char what;
        u32 k;
        while (fscanf(f, "%c%u\n", &what, &k) == 2) {
            assert_true(k < sizeof(in));
            (what == '+' ? in : out)[k] = 1;
            next = k >= next ? k + 1 : next;
        }
        fclose(f);
        next++; /* one more may have been kept and not told */
    }
    assert_true(next > 1000);
    struct spool *s = open_default();
    for (u32 k, last = 0; (k = get(s, true)); last = k) {
        assert_true(k > last);
        out[k] = 1;
    }
    for (u32 k = 1; k < next; k++)
        if (in[k] && !out[k])
            fail_msg("%u of %u was kept and never sent", k, next);
    spool_close(s);
}

static void the_checksum_is_castagnolis(void **state)
{
    u8 zero[32] = { 0 }, up[32];
    for (u8 i = 0; i < 32; i++)
        up[i] = i;
    assert_int_equal(crc32c(0, zero, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
    assert_int_equal(crc32c(crc32c(0, up, 11), up + 11, 21), 0x46dd794e);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_checksum_is_castagnolis),      TEST(what_goes_in_comes_out_in_order),
        TEST(a_restart_goes_on_where_it_was),   TEST(one_process_at_a_time),
        TEST(the_oldest_go_when_it_is_full),    TEST(a_dropped_record_on_its_way_counts_once),
        TEST(what_is_too_old_is_passed_over),   TEST(every_byte_may_be_wrong),
        TEST(every_length_may_be_the_last),     TEST(bytes_that_never_were_records_do_no_harm),
        TEST(a_full_disk_leaves_whole_records), TEST(nothing_that_was_kept_is_lost_by_kill_9),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
