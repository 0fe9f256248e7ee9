/* needs: base config probe ingest stream protocol workflow trace pipeline export store self cli inproc gen */
/* The plan of memory and one step of the watch over it. */
#include "cli/memory.h"
#include "stream/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What the plan's ceilings come to when every one is reached at once; the encoders' part is the plan's own figure. */
static u64 worst(const struct memory_plan *p, size_t lanes)
{
    return MEMORY_BASE + p->ring_bytes + p->span_bytes / 16 * 17 + p->open * 160ull +
           (u64)p->resources * sizeof(struct resource) + p->log_bytes + p->buffered_bytes +
           (u64)p->conns * (sizeof(struct conn) + 64) + (u64)p->units * 128 + (u64)p->processes * 208 + (u64)p->series * 1024 +
           p->points * 400 + (u64)p->batch * lanes * (24 << 10);
}

static void the_parts_fit_into_the_whole(void **state)
{
    for (u64 limit = MEMORY_LEAST; limit <= 8ull << 30; limit += limit / 3)
        for (size_t lanes = 1; lanes <= 6; lanes += 5) {
            struct memory_plan p = memory_plan_of(limit, lanes);
            assert_true(p.limit == limit && !(p.ring_bytes & (p.ring_bytes - 1)));
            assert_true(worst(&p, lanes) <= limit + (1 << 20)); /* the least of everything, at the least limit */
            assert_true(p.queue && p.queue * SPAN_LEAST + p.tail_bytes < p.span_bytes && p.batch >= 16 && p.batch <= 512);
        }
    struct memory_plan small = memory_plan_of(1, 0);
    assert_int_equal(small.limit, MEMORY_LEAST);
}

static void the_default_leaves_the_stages_their_own(void **state)
{
    struct memory_plan p = memory_plan_of(MEMORY_DEFAULT, 3);
    assert_true(p.span_bytes > 400ull << 20 && p.open > 300000 && p.ring_bytes == 8u << 20 && p.queue == 8192 && p.batch == 512 &&
                p.series == 20000);
    assert_true(p.log_bytes >= 59u << 20 && p.tail_bytes == 64u << 20 && p.conns == 65536);
    assert_true(memory_default() >= MEMORY_LEAST && memory_default() <= MEMORY_DEFAULT);
}

static void what_is_named_is_only_lowered(void **state)
{
    static struct agent_options o; /* large */
    o.pipeline.tail.max_bytes = 1000;
    o.max_conns = 1u << 30;
    struct memory_plan p = memory_plan_of(128u << 20, 3);
    memory_plan_apply(&p, &o);
    assert_int_equal(o.pipeline.tail.max_bytes, 1000);
    assert_int_equal(o.max_conns, p.conns);
    assert_int_equal(o.probe.ring_bytes, p.ring_bytes);
    assert_int_equal(o.queues.most[SIGNAL_TRACES].max_queue, p.queue);
}

static void near_the_limit_fewer_may_live(void **state)
{
    struct memory_plan p = memory_plan_of(128u << 20, 3);
    u64 n = p.span_bytes;
    for (int i = 0; i < 200; i++) { /* whatever lives, it comes down and never to nothing */
        u64 next = memory_step(&p, n, p.limit, n);
        assert_true(next <= n && next >= 56 * SPAN_LEAST);
        n = next;
    }
    assert_true(n <= 64 * SPAN_LEAST);
    assert_int_equal(memory_step(&p, 1000000, p.limit - (20u << 20), 10), 1000000); /* between: as it is */
    for (int i = 0; i < 200; i++) {
        u64 next = memory_step(&p, n, p.limit / 2, 0);
        assert_true(next >= n && next <= p.span_bytes);
        n = next;
    }
    assert_int_equal(n, p.span_bytes);
}

static void a_pool_of_resources_has_a_ceiling(void **state)
{
    struct resource *v[4];
    u64 before = ledger_get(resources_dropped);
    resource_pool_limit(3);
    for (int i = 0; i < 3; i++)
        assert_non_null(v[i] = resource_new());
    assert_null(resource_new());
    assert_int_equal(ledger_get(resources_dropped) - before, 1);
    assert_null(resource_ref(NULL));
    resource_unref(v[0]);
    assert_non_null(v[0] = resource_new());
    for (int i = 0; i < 3; i++)
        resource_unref(v[i]);
    resource_pool_limit(UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_fit_into_the_whole),      cmocka_unit_test(the_default_leaves_the_stages_their_own),
        cmocka_unit_test(what_is_named_is_only_lowered),     cmocka_unit_test(near_the_limit_fewer_may_live),
        cmocka_unit_test(a_pool_of_resources_has_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
