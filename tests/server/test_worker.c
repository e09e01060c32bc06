/* The worker: order, jobs that are taken back, and its end in the midst of work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>
#include <unistd.h>

#include "runtime/server/worker.h"

enum { JOBS = 200 };

typedef struct numbered {
    worker_job job; /* first */
    int number, us;
    bool ran, done;
} numbered;

typedef struct log {
    int ran[JOBS], n_ran, done[JOBS], n_done;
    struct event_base *base;
    int stop_at; /* jobs done */
} log;

static log the_log;

static void run(worker_job *job)
{
    numbered *n = (numbered *)job;
    if (n->us) usleep((useconds_t)n->us);
    n->ran = true;
    the_log.ran[the_log.n_ran++] = n->number;
}

static void done(worker_job *job)
{
    numbered *n = (numbered *)job;
    n->done = true;
    the_log.done[the_log.n_done++] = n->number;
    if (the_log.n_done == the_log.stop_at) event_base_loopbreak(the_log.base);
}

static worker *begin(numbered *jobs, int n, int us, int stop_at)
{
    worker *w;
    the_log = (log){.base = event_base_new(), .stop_at = stop_at};
    assert_int_equal(worker_open(the_log.base, &w, NULL), STATUS_OK);
    for (int i = 0; i < n; i++) {
        jobs[i] = (numbered){.job = {run, done, NULL}, .number = i, .us = us};
        worker_add(w, &jobs[i].job);
    }
    return w;
}

static void end(worker *w)
{
    worker_close(w);
    event_base_free(the_log.base);
}

static void jobs_come_back_in_order(void **state)
{
    (void)state;
    static numbered jobs[JOBS];
    worker *w = begin(jobs, JOBS, 0, JOBS);
    assert_int_equal(event_base_dispatch(the_log.base), 0);
    assert_int_equal(the_log.n_done, JOBS);
    for (int i = 0; i < JOBS; i++) assert_true(the_log.ran[i] == i && the_log.done[i] == i);
    end(w);
    assert_int_equal(the_log.n_done, JOBS);
}

static void jobs_that_wait_can_be_taken_back(void **state)
{
    (void)state;
    static numbered jobs[6];
    worker *w = begin(jobs, 6, 100000, 3);
    assert_true(worker_withdraw(w, &jobs[5].job)); /* the last, one in the midst, and one more behind the new last */
    assert_true(worker_withdraw(w, &jobs[2].job));
    assert_true(worker_withdraw(w, &jobs[4].job));
    assert_false(worker_withdraw(w, &jobs[4].job));
    jobs[4] = (numbered){.job = {run, done, NULL}, .number = 4};
    worker_add(w, &jobs[4].job);
    assert_true(worker_withdraw(w, &jobs[3].job));
    assert_int_equal(event_base_dispatch(the_log.base), 0);
    assert_false(worker_withdraw(w, &jobs[0].job));
    end(w);
    assert_int_equal(the_log.n_done, 3);
    assert_true(the_log.done[0] == 0 && the_log.done[1] == 1 && the_log.done[2] == 4);
    assert_false(jobs[2].ran || jobs[3].ran || jobs[5].ran);
}

static void closing_begins_nothing_more(void **state)
{
    (void)state;
    static numbered jobs[20];
    worker *w = begin(jobs, 20, 50000, -1);
    usleep(10000);
    end(w);
    assert_int_equal(the_log.n_done, 20);
    assert_in_range(the_log.n_ran, 0, 2);
    for (int i = 0; i < 20; i++) assert_true(jobs[i].done);
    worker_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_come_back_in_order),
        cmocka_unit_test(jobs_that_wait_can_be_taken_back),
        cmocka_unit_test(closing_begins_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
