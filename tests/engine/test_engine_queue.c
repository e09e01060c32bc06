/* The queue between the loop and the other threads, played in one thread: orders of calls that real threads meet only by chance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/engine/engine_queue.h"

static engine_queue *open_queue(int max_open)
{
    engine_queue *q;
    assert_int_equal(engine_queue_open(max_open, &q, NULL), STATUS_OK);
    return q;
}

static sequence *submit(engine_queue *q)
{
    uint64_t id;
    sequence *s = calloc(1, sizeof *s);
    assert_int_equal(engine_queue_submit(q, s, &id, NULL), STATUS_OK);
    assert_true(id == s->id);
    return s;
}

static void emit(engine_queue *q, uint64_t request, engine_event_kind kind)
{
    engine_event event = {.kind = kind, .request = request};
    assert_int_equal(engine_queue_emit(q, &event, 1, NULL), STATUS_OK);
}

static bool readable(engine_queue *q)
{
    struct pollfd fd = {.fd = engine_queue_event_fd(q), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void requests_are_taken_in_order(void **state)
{
    (void)state;
    engine_queue *q = open_queue(3);
    sequence *a = submit(q), *b = submit(q), *c = submit(q), *fresh, *cancelled;
    sequence *d = calloc(1, sizeof *d);
    uint64_t id;
    engine_stats stats;
    assert_int_equal(engine_queue_submit(q, d, &id, NULL), STATUS_BUSY);
    engine_queue_get_stats(q, &stats);
    assert_int_equal(stats.waiting, 3);
    engine_queue_cancel(q, b->id);
    engine_queue_take(q, &fresh, &cancelled);
    assert_true(fresh == a && a->next_inbox == b && b->next_inbox == c && !c->next_inbox);
    assert_true(cancelled == b && !b->next_cancel);
    engine_queue_take(q, &fresh, &cancelled);
    assert_true(!fresh && !cancelled);
    emit(q, a->id, ENGINE_EVENT_FINISH);
    assert_int_equal(engine_queue_submit(q, d, &id, NULL), STATUS_OK); /* stays in the queue, which frees it */
    engine_queue_close(q);
    free(a);
    free(b);
    free(c);
}

static void a_cancellation_dies_with_its_request(void **state)
{
    (void)state;
    engine_queue *q = open_queue(8);
    sequence *s[5], *fresh, *cancelled;
    for (int i = 0; i < 5; i++) s[i] = submit(q);
    engine_queue_take(q, &fresh, &cancelled);
    for (int i = 0; i < 5; i++) engine_queue_cancel(q, s[i]->id);
    const int order[] = {2, 4, 0}; /* from the middle, the head and the end of the list */
    for (int i = 0; i < 3; i++) {
        emit(q, s[order[i]]->id, ENGINE_EVENT_FINISH);
        engine_queue_cancel(q, s[order[i]]->id); /* unknown by now */
        free(s[order[i]]);
    }
    engine_queue_take(q, &fresh, &cancelled);
    assert_true(cancelled == s[3] && s[3]->next_cancel == s[1] && !s[1]->next_cancel);
    engine_queue_cancel(q, s[1]->id); /* once is enough */
    engine_queue_take(q, &fresh, &cancelled);
    assert_null(cancelled);
    engine_queue_close(q);
    free(s[1]);
    free(s[3]);
}

static void events_keep_their_order_however_many_wait(void **state)
{
    (void)state;
    engine_queue *q = open_queue(4);
    sequence *s = submit(q), *fresh, *cancelled;
    engine_queue_take(q, &fresh, &cancelled);
    uint64_t next_in = 0, next_out = 0;
    engine_event events[100];
    for (int round = 0; round < 60; round++) {
        assert_true(readable(q) == (next_in > next_out));
        for (int i = 0; i < 100; i++) events[i] = (engine_event){.kind = ENGINE_EVENT_TOKEN, .request = next_in++};
        assert_int_equal(engine_queue_emit(q, events, 100, NULL), STATUS_OK);
        int n = engine_queue_poll(q, events, round < 40 ? 61 : 100);
        for (int i = 0; i < n; i++) assert_true(events[i].request == next_out++);
        if (round < 40) continue;
        while ((n = engine_queue_poll(q, events, 100)) > 0)
            for (int i = 0; i < n; i++) assert_true(events[i].request == next_out++);
    }
    assert_true(next_in == next_out && !readable(q));
    emit(q, s->id, ENGINE_EVENT_FINISH);
    assert_true(readable(q));
    engine_queue_close(q);
    free(s);
}

static void nothing_is_taken_after_the_end(void **state)
{
    (void)state;
    engine_queue *q = open_queue(4);
    sequence *s = submit(q), *fresh, *cancelled;
    uint64_t id;
    double seconds = -1;
    assert_int_equal(engine_queue_shutdowns(q, &seconds), 0);
    engine_queue_shutdown(q, 2.5);
    engine_queue_shutdown(q, 99);
    assert_int_equal(engine_queue_shutdowns(q, &seconds), 2);
    assert_true(seconds > 2.49 && seconds < 2.51); /* the first one's */
    engine_queue_wait(q, 1); /* returns at once: one call is not seen yet */
    engine_queue_end(q, &fresh, &cancelled);
    assert_true(fresh == s);
    assert_int_equal(engine_queue_submit(q, s, &id, NULL), STATUS_BUSY);
    engine_queue_close(q);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_taken_in_order),
        cmocka_unit_test(a_cancellation_dies_with_its_request),
        cmocka_unit_test(events_keep_their_order_however_many_wait),
        cmocka_unit_test(nothing_is_taken_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
