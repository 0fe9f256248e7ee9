/* needs: base config probe ingest stream protocol workflow trace self */
/* Who uses an image, without a kernel: holds, releases, forks, what a Python needs, grace, a full table. Links are not made here; an
 * image is worth holding by what it needs. */
#include "probe/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <unistd.h>

static int setup(void **state)
{
    struct probes *p = calloc(1, sizeof(*p));
    p->options.image_idle_ms = 1;
    assert_int_equal(targets_open(p), 0);
    assert_int_equal(images_open(p), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct probes *p = *state;
    p->procs = table_free(p->procs);
    images_free(p);
    free(p);
    return 0;
}

static struct image *image(struct probes *p, u64 inode)
{
    struct image_key key = { .inode = inode };
    struct image *i = table_put(p->images, &key, NULL);
    i->serial = i->serial ? i->serial : ++p->image_serial;
    return i;
}

/* One that needs another, which needs nothing: worth holding. */
static struct image *python(struct probes *p, u64 inode)
{
    struct image *at = image(p, inode);
    at->needs.v = calloc(1, sizeof(*at->needs.v));
    at->needs.n = at->needs.room = 1;
    at->needs.v[0] = (struct image_ref){ image(p, inode + 1000), image(p, inode + 1000)->serial };
    image(p, inode + 1000)->users++;
    return at;
}

static void later(struct probes *p)
{
    usleep(5000);
    images_sweep(p);
}

static bool there(struct probes *p, u64 inode) { return table_peek(p->images, &(struct image_key){ .inode = inode }) != NULL; }

static void test_last_user(void **state)
{
    struct probes *p = *state;
    struct image_refs a = { 0 }, b = { 0 };
    struct image *i = python(p, 1);
    image_hold(p, &a, i);
    image_hold(p, &a, i); /* mapped twice: one user */
    assert_int_equal(i->users, 1);
    images_copy(p, &b, &a); /* a fork */
    assert_int_equal(i->users, 2);
    images_release(p, &a);
    later(p);
    assert_true(there(p, 1));
    images_release(p, &b);
    images_release(p, &b); /* nothing is left to give up */
    later(p);
    assert_false(there(p, 1));
    assert_int_equal(image(p, 1001)->users, 0); /* it needed that one */
    later(p);
    assert_int_equal(p->idle_due, 0); /* nothing is to be looked for any more */
}

static void test_again_within_grace(void **state)
{
    struct probes *p = *state;
    struct image_refs a = { 0 };
    p->options.image_idle_ms = 600000;
    image_hold(p, &a, python(p, 1));
    images_release(p, &a);
    later(p);
    assert_true(there(p, 1));
    p->options.image_idle_ms = 1;
    p->idle_due = 1;
    image_hold(p, &a, image(p, 1));
    later(p);
    assert_true(there(p, 1));
    images_release(p, &a);
    later(p);
    assert_false(there(p, 1));
}

static void test_pinned_and_plain(void **state)
{
    struct probes *p = *state;
    struct image_refs a = { 0 };
    python(p, 1)->pinned = true;
    image_hold(p, &a, image(p, 1));
    image_hold(p, &a, image(p, 2)); /* nothing to probe: not held */
    assert_int_equal(a.n, 1);
    images_release(p, &a);
    p->idle_due = 1;
    later(p);
    assert_true(there(p, 1));
    assert_true(there(p, 2));
}

/* A reference to one that was forgotten is none, also when the same place holds another by now. */
static void test_forgotten(void **state)
{
    struct probes *p = *state;
    struct image_refs a = { 0 };
    struct image *old = python(p, 1);
    image_hold(p, &a, old);
    struct image_ref ref = a.v[0];
    assert_true(image_deref(&ref) == old);
    table_del(p->images, &(struct image_key){ .inode = 1 });
    assert_null(image_deref(&ref));
    assert_true(image(p, 3) == old); /* the same memory */
    assert_null(image_deref(&ref));
    images_release(p, &a);
    assert_int_equal(image(p, 3)->users, 0);
    assert_null(image_deref(&(struct image_ref){ 0 }));
}

static void test_room(void **state)
{
    struct probes *p = *state;
    struct image_refs a = { 0 };
    image_hold(p, &a, python(p, 1)); /* the oldest, but used */
    image(p, 2);
    image(p, 3);
    images_room(p);
    assert_true(there(p, 1));
    assert_false(there(p, 2));
    assert_true(there(p, 3));
    assert_true(there(p, 1001));
    images_release(p, &a);
}

/* Processes give up what they hold: at their end, at an exec, when their entry goes. */
static void test_processes(void **state)
{
    struct probes *p = *state;
    struct image *i = python(p, 1);
    for (u32 tgid = 7; tgid < 10; tgid++)
        image_hold(p, &targets_proc(p, tgid)->holds, i);
    assert_int_equal(i->users, 3);
    targets_renew(p, 7);
    assert_int_equal(i->users, 2);
    targets_forget(p, 7);
    targets_forget(p, 8);
    targets_forget(p, 8);
    assert_int_equal(i->users, 1);
    p->procs = table_free(p->procs);
    assert_int_equal(i->users, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_last_user), T(test_again_within_grace), T(test_pinned_and_plain), T(test_forgotten),
        T(test_room),      T(test_processes)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
