/* needs: base self trace ingest protocol stream */
/* What golden captures can't say: order, TLS sessions and their connections, verdicts, bounds. */
#include "stream/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

struct bench {
    struct exchange_sink sink;
    struct verdict_sink verdicts;
    struct stream *s;
    u64 now;
    size_t begun, ended, how[3];
    u64 conn_of_last;
    u16 port_of_last;
    u64 ignored, budget_of[8];
};

static void *on_begin(struct exchange_sink *s, const struct exchange *x, const struct message *m)
{
    struct bench *b = container_of(s, struct bench, sink);
    assert_string_equal(m->name, "GET /a");
    b->begun++;
    return b;
}

static void on_end(struct exchange_sink *s, void *handle, const struct exchange *x, const struct message *m,
                   const struct exchange_answer *a)
{
    struct bench *b = container_of(s, struct bench, sink);
    b->ended++;
    b->how[a->how]++;
    b->conn_of_last = x->conn->id;
    b->port_of_last = x->conn->remote_port;
}

static void on_verdict(struct verdict_sink *v, u64 conn, bool ignore, u32 budget)
{
    struct bench *b = container_of(v, struct bench, verdicts);
    b->ignored |= ignore ? 1ull << conn : 0;
    b->budget_of[conn & 7] = budget;
}

static void bench_open(struct bench *b, const struct stream_options *o)
{
    *b = (struct bench){ .sink = { .begin = on_begin, .end = on_end }, .verdicts = { .set = on_verdict }, .now = 1000000 };
    b->s = stream_new(o, &b->sink, &b->verdicts);
    assert_non_null(b->s);
}

static void conn(struct bench *b, u64 id, enum role role)
{
    stream_event(b->s, &(struct event){ .type = EVENT_CONN,
                                        .time = b->now,
                                        .tgid = 7,
                                        .conn = { .id = id, .family = AF_INET, .role = role, .remote_port = (u16)(1000 + id) } });
}

static void data_at(struct bench *b, u64 id, enum dir d, u64 pos, const char *text, size_t n, u32 len)
{
    stream_event(b->s,
                 &(struct event){ .type = EVENT_DATA,
                                  .time = b->now += 1000,
                                  .tgid = 7,
                                  .tid = 8,
                                  .data = { .conn = id, .pos = pos, .len = len, .dir = d, .bytes = { (const u8 *)text, n } } });
}

static void data(struct bench *b, u64 id, enum dir d, u64 pos, const char *text)
{
    data_at(b, id, d, pos, text, strlen(text), (u32)strlen(text));
}

static void tls(struct bench *b, u64 ssl, enum dir d, u64 pos, const char *text)
{
    stream_event(
        b->s,
        &(struct event){
            .type = EVENT_TLS,
            .time = b->now += 1000,
            .tgid = 7,
            .tid = 8,
            .tls = { .ssl = ssl, .pos = pos, .len = (u32)strlen(text), .dir = d, .bytes = { (const u8 *)text, strlen(text) } } });
}

static const char get[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
#define GET_LEN (sizeof(get) - 1)
#define OK_LEN  (sizeof(ok) - 1)

static void cipher(struct bench *b, u64 id, enum dir d, u64 pos, u32 len)
{
    static const char record[] = "\x17\x03\x03\x00\x40"
                                 "abcdefgh";
    data_at(b, id, d, pos, record, sizeof(record) - 1, len);
}

static void test_out_of_order(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    conn(&b, 1, CONN_CLIENT);
    data(&b, 1, DIR_SEND, 0, "GET /a HTTP/1.1\r\n");
    data(&b, 1, DIR_SEND, 26, "\r\n"); /* two threads raced */
    assert_int_equal(b.begun, 0);
    data(&b, 1, DIR_SEND, 17, "Host: h\r\n");
    assert_int_equal(b.begun, 1);
    data(&b, 1, DIR_SEND, 17, "Host: h\r\n\r\n"); /* twice: nothing new */
    data(&b, 1, DIR_RECV, 0, ok);
    data(&b, 1, DIR_RECV, 20, ok + 20);
    assert_int_equal(b.ended, 1);
    assert_int_equal(b.how[EXCHANGE_ANSWERED], 1);
    stream_free(b.s);
}

static void test_answer_before_its_request(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    conn(&b, 1, CONN_CLIENT);
    data(&b, 1, DIR_SEND, 0, get);
    data(&b, 1, DIR_RECV, 0, ok);
    data(&b, 1, DIR_RECV, OK_LEN, ok);
    assert_int_equal(b.ended, 2 - 1);
    stream_tick(b.s, b.now + NSEC_PER_SEC); /* nobody asked for the second */
    assert_int_equal(b.begun, 1);
    b.now += 2 * NSEC_PER_SEC;
    conn(&b, 2, CONN_CLIENT);
    data(&b, 2, DIR_RECV, 0, ok);
    data(&b, 2, DIR_SEND, 0, get); /* the same instant: threads raced */
    assert_int_equal(b.ended, 2);
    assert_int_equal(b.how[EXCHANGE_ANSWERED], 2);
    stream_free(b.s);
}

static void test_tls_memory_bio(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    conn(&b, 1, CONN_CLIENT);
    conn(&b, 2, CONN_CLIENT);
    data_at(&b, 1, DIR_SEND, 0, "\x16\x03\x01\x02\x00\x01", 6, 517);
    data_at(&b, 2, DIR_SEND, 0, "\x16\x03\x01\x02\x00\x01", 6, 517);
    tls(&b, 0xa, DIR_SEND, 0, get);
    cipher(&b, 1, DIR_SEND, 517, GET_LEN + 22);
    tls(&b, 0xb, DIR_SEND, 0, get);
    cipher(&b, 2, DIR_SEND, 517, GET_LEN + 22);
    assert_int_equal(b.begun, 2);
    cipher(&b, 2, DIR_RECV, 0, OK_LEN + 22);
    tls(&b, 0xb, DIR_RECV, 0, ok);
    assert_int_equal(b.ended, 1);
    assert_int_equal(b.conn_of_last, 2);
    assert_int_equal(b.port_of_last, 1002);
    cipher(&b, 1, DIR_RECV, 0, OK_LEN + 22);
    tls(&b, 0xa, DIR_RECV, 0, ok);
    assert_int_equal(b.conn_of_last, 1);
    assert_int_equal(b.ignored, 1 << 1 | 1 << 2); /* bound twice over: ciphertext has no more to say */
    stream_free(b.s);
}

static void test_tls_ambiguous(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    conn(&b, 1, CONN_CLIENT);
    data_at(&b, 1, DIR_SEND, 0, "\x16\x03\x01\x02\x00\x01", 6, 517);
    tls(&b, 0xa, DIR_SEND, 0, get);
    tls(&b, 0xb, DIR_SEND, 0, get);
    cipher(&b, 1, DIR_SEND, 517, GET_LEN + 22); /* whose? */
    assert_int_equal(b.begun, 0);
    stream_tick(b.s, b.now + NSEC_PER_SEC); /* patience is over: parsed without an address */
    assert_int_equal(b.begun, 2);
    b.now += NSEC_PER_SEC;
    tls(&b, 0xa, DIR_RECV, 0, ok);
    assert_int_equal(b.how[EXCHANGE_ANSWERED], 1);
    assert_int_equal(b.conn_of_last, 0);
    stream_free(b.s);
}

static void test_tls_object_used_again(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    for (u64 id = 1; id <= 2; id++) {
        conn(&b, id, CONN_CLIENT);
        data_at(&b, id, DIR_SEND, 0, "\x16\x03\x01\x02\x00\x01", 6, 517);
        tls(&b, 0xa, DIR_SEND, 0, get);
        cipher(&b, id, DIR_SEND, 517, GET_LEN + 22);
        cipher(&b, id, DIR_RECV, 0, OK_LEN + 22);
        tls(&b, 0xa, DIR_RECV, 0, ok);
        assert_int_equal(b.ended, id);
        assert_int_equal(b.conn_of_last, id);
        stream_event(b.s, &(struct event){ .type = EVENT_CLOSE, .time = b.now, .tgid = 7, .close = { .conn = id } });
    }
    stream_free(b.s);
}

static void gone(struct bench *b, u32 tgid, bool thread)
{
    stream_event(b->s, &(struct event){ .type = EVENT_EXIT, .time = b->now, .tgid = tgid, .tid = 8, .exit.thread = thread });
}

/* A process's end closes its sessions, once; a thread's end, and that of another process, closes none. */
static void test_tls_process_gone(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    for (u64 ssl = 1; ssl <= 3; ssl++) {
        conn(&b, ssl, CONN_CLIENT);
        data_at(&b, ssl, DIR_SEND, 0, "\x16\x03\x01\x02\x00\x01", 6, 517);
        tls(&b, ssl, DIR_SEND, 0, get);
        cipher(&b, ssl, DIR_SEND, 517, GET_LEN + 22);
    }
    assert_int_equal(b.begun, 3);
    gone(&b, 7, true);
    gone(&b, 8, false);
    assert_int_equal(b.ended, 0);
    gone(&b, 7, false);
    assert_int_equal(b.ended, 3);
    gone(&b, 7, false);
    assert_int_equal(b.ended, 3);
    tls(&b, 1, DIR_SEND, 0, get); /* the number again: another process, and an object of its own */
    cipher(&b, 1, DIR_SEND, 517 + GET_LEN + 22, GET_LEN + 22);
    assert_int_equal(b.begun, 4);
    gone(&b, 7, false);
    assert_int_equal(b.ended, 4);
    stream_free(b.s);
}

static void test_unknown_is_ignored(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ 0 });
    conn(&b, 1, CONN_CLIENT);
    u64 pos[2] = { 0 };
    for (int i = 0; i < 12; i++, pos[i & 1] += 5)
        data(&b, 1, i & 1 ? DIR_RECV : DIR_SEND, pos[i & 1], "@@@@@");
    assert_int_equal(b.ignored, 1 << 1);
    assert_int_equal(b.begun, 0);
    stream_free(b.s);
}

static void test_bounds(void **state)
{
    struct bench b;
    bench_open(&b, &(struct stream_options){ .max_open = 4, .max_conns = 8 });
    conn(&b, 1, CONN_CLIENT);
    for (u64 i = 0; i < 10; i++)
        data(&b, 1, DIR_SEND, i * GET_LEN, get);
    assert_int_equal(b.begun, 10);
    assert_true(b.begun - b.ended <= 4);
    for (u64 id = 2; id < 40; id++) {
        conn(&b, id, CONN_CLIENT);
        data(&b, id, DIR_SEND, 0, get);
    }
    assert_true(b.begun - b.ended <= 12);
    stream_free(b.s);
    assert_int_equal(b.begun, b.ended);
}

static void test_idle_costs_little(void **state)
{
    assert_true(sizeof(struct conn) + protocol_by_name("http1")->state_size <= 1024 + 64);
    assert_true(sizeof(struct conn) + protocol_by_name("resp")->state_size <= 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_of_order),          cmocka_unit_test(test_answer_before_its_request),
        cmocka_unit_test(test_tls_memory_bio),        cmocka_unit_test(test_tls_ambiguous),
        cmocka_unit_test(test_tls_object_used_again), cmocka_unit_test(test_tls_process_gone),
        cmocka_unit_test(test_unknown_is_ignored),    cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_idle_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
