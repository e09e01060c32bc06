/* What is read from a log is what was written to it, from any event on and whenever the reader comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/responses_log.h"

enum { EVENTS = 300 };

/* splitmix64 (Steele et al. 2014) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Of any bytes, and of sizes around those at which the size itself takes another byte. */
static void random_text(uint64_t *seed, buffer *out)
{
    static const size_t sizes[] = {0, 1, 5, 127, 128, 129, 300, 16383, 16384};
    size_t size = sizes[next_random(seed) % (sizeof sizes / sizeof *sizes)];
    buffer_clear(out);
    assert_true(buffer_reserve(out, size));
    for (size_t i = 0; i < size; i++) out->data[i] = (char)next_random(seed);
    out->size = size;
}

typedef struct listener {
    responses_log_reader reader; /* first */
    json_writer got;
    int told;
    bool lost;
} listener;

static void listen_on(responses_log_reader *r)
{
    listener *l = (listener *)r;
    l->told++;
    l->lost = !r->log;
    if (!r->log) return;
    while (responses_log_next(r, &l->got)) continue;
}

static void forget(listener *l)
{
    responses_log_leave(&l->reader);
    json_write_free(&l->got);
}

/* One random event, into the log and, as it is to be sent, behind `wanted`. */
static void add(responses_log *log, uint64_t *seed, long long number, bool last, buffer *fields, json_writer *wanted)
{
    static const char *const types[] = {"a.delta", "b.delta", "c"};
    buffer rest = {0};
    responses_event e = {.type = types[next_random(seed) % 3], .last = last};
    if (next_random(seed) % 4 == 0) random_text(seed, fields);
    random_text(seed, &rest);
    e.fields = fields->data;
    e.fields_size = fields->size;
    e.rest = rest.data;
    e.rest_size = rest.size;
    assert_true(responses_log_add(log, &e));
    responses_log_frame(e.type, strlen(e.type), number, wanted);
    json_write_bytes(wanted, e.fields, e.fields_size);
    json_write_bytes(wanted, e.rest, e.rest_size);
    json_write_raw(wanted, RESPONSES_LOG_FRAME_END);
    buffer_free(&rest);
}

static void test_any_reader_gets_what_was_written(void **state)
{
    (void)state;
    uint64_t seed = 7;
    responses_log *log = responses_log_open();
    static listener early[EVENTS]; /* number i wants from event i on, and joins at some time */
    static size_t begins[EVENTS + 1];
    static int joined_at[EVENTS];
    json_writer wanted = {0};
    buffer fields = {0};
    random_text(&seed, &fields);
    for (int i = 0; i < EVENTS; i++) joined_at[i] = (int)(next_random(&seed) % EVENTS);
    for (int n = 0; n < EVENTS; n++) {
        for (int i = 0; i < EVENTS; i++) {
            if (joined_at[i] != n) continue;
            early[i].reader.changed = listen_on;
            responses_log_join(log, &early[i].reader, i);
            listen_on(&early[i].reader);
            assert_false(responses_log_is_over(&early[i].reader));
        }
        begins[n] = wanted.text.size;
        add(log, &seed, n, n == EVENTS - 1, &fields, &wanted);
    }
    for (int i = 0; i < EVENTS; i++) {
        size_t size = wanted.text.size - begins[i];
        assert_int_equal(early[i].got.text.size, size);
        assert_memory_equal(early[i].got.text.data, wanted.text.data + begins[i], size);
        assert_true(responses_log_is_over(&early[i].reader));
        if (i % 2) forget(&early[i]);
    }
    responses_log_close(log);
    for (int i = 0; i < EVENTS; i += 2) {
        assert_true(early[i].lost && early[i].told == EVENTS - joined_at[i] + 2); /* by hand, for each event, and at the end */
        forget(&early[i]);
    }
    buffer_free(&fields);
    json_write_free(&wanted);
}

/* What comes again and again is kept once. */
static void test_a_delta_costs_its_text(void **state)
{
    (void)state;
    responses_log *log = responses_log_open();
    responses_event e = {.type = "response.output_text.delta", .fields = ",\"item_id\":\"msg_0123456789abcdef0123456789abcdef0123456789abcdef\",\"delta\":",
                         .rest = "\" word\",\"logprobs\":[]"};
    e.fields_size = strlen(e.fields);
    e.rest_size = strlen(e.rest);
    for (int i = 0; i < 10000; i++) assert_true(responses_log_add(log, &e));
    assert_true(responses_log_bytes(log) < 2 * 10000 * (e.rest_size + 3)); /* memory grows by doubling */
    responses_log_close(log);
}

static void leave_at_once(responses_log_reader *r)
{
    listener *l = (listener *)r;
    l->told++;
    responses_log_leave(r);
}

/* As a reader does that has all it wanted: in the middle of being told, with others before and behind it. */
static void test_readers_leave_while_they_are_told(void **state)
{
    (void)state;
    responses_log *log = responses_log_open();
    listener readers[3] = {{.reader.changed = leave_at_once}, {.reader.changed = listen_on}, {.reader.changed = leave_at_once}};
    responses_event e = {.type = "x", .fields = "", .rest = ""};
    for (int i = 0; i < 3; i++) responses_log_join(log, &readers[i].reader, 0);
    for (int i = 0; i < 2; i++) assert_true(responses_log_add(log, &e));
    assert_true(readers[0].told == 1 && readers[1].told == 2 && readers[2].told == 1);
    assert_string_equal(readers[1].got.text.data, "event: x\ndata: {\"type\":\"x\",\"sequence_number\":0}\n\n"
                                                  "event: x\ndata: {\"type\":\"x\",\"sequence_number\":1}\n\n");
    forget(&readers[1]);
    responses_log_close(log);
    responses_log_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_reader_gets_what_was_written),
        cmocka_unit_test(test_a_delta_costs_its_text),
        cmocka_unit_test(test_readers_leave_while_they_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
