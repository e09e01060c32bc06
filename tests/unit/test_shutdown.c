/* Signals, with a job and an engine that only write down what they are told. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/main.h"
#include "launch/shutdown.h"
#include "runtime/base/log.h"
#include "tests/unit/cmocka_headers.h"

struct world {
    int rank, size;
};
struct engine {
    int calls;
    double drain[8];
};

/* The other side of comm.h and engine.h. Guarded by `lock`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int told_zero;
static void (*deliver)(void *user, int from_rank);
static void *deliver_user;

_Noreturn void main_leave(int code) { _exit(code); }

int world_rank(const world *w) { return w->rank; }
int world_size(const world *w) { return w->size; }

void world_signal_zero(world *w)
{
    pthread_mutex_lock(&lock);
    if (w->rank > 0) told_zero++;
    pthread_mutex_unlock(&lock);
}

void world_on_signal(world *w, void (*fn)(void *user, int from_rank), void *user)
{
    (void)w;
    deliver = fn;
    deliver_user = user;
}

void engine_shutdown(engine *e, double drain_seconds)
{
    pthread_mutex_lock(&lock);
    if (e->calls < 8) e->drain[e->calls] = drain_seconds;
    e->calls++;
    pthread_mutex_unlock(&lock);
}

static int peek(const int *value)
{
    pthread_mutex_lock(&lock);
    int result = *value;
    pthread_mutex_unlock(&lock);
    return result;
}

/* Sends a signal to this process and waits until `*value` is `wanted`, or long enough to see that it does not change. */
static void send(int number, const int *value, int wanted)
{
    kill(getpid(), number);
    for (int i = 0; i < 2000 && peek(value) != wanted; i++) usleep(1000);
    usleep(20000);
    assert_int_equal(peek(value), wanted);
}

static void test_each_signal_drains(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    for (int i = 0; i < 3; i++) {
        world w = {0, 1};
        engine e = {0};
        shutdown_watch *s;
        assert_int_equal(shutdown_open(&s, NULL), STATUS_OK);
        assert_int_equal(shutdown_attach(s, &w, NULL), STATUS_OK);
        shutdown_serve(s, &e, 30);
        assert_false(shutdown_asked(s));
        send(numbers[i], &e.calls, 1);
        assert_true(e.drain[0] == 30);
        assert_true(shutdown_asked(s));
        send(SIGTERM, &e.calls, 2); /* the second call cuts */
        shutdown_serve(s, NULL, 0);
        shutdown_detach(s);
        shutdown_close(s);
    }
}

static void test_one_signal_to_all_ranks_is_one(void **state)
{
    (void)state;
    world w = {0, 4};
    engine e = {0};
    shutdown_watch *s;
    assert_int_equal(shutdown_open(&s, NULL), STATUS_OK);
    assert_int_equal(shutdown_attach(s, &w, NULL), STATUS_OK);
    shutdown_serve(s, &e, 30);
    deliver(deliver_user, 2);
    deliver(deliver_user, 1);
    send(SIGTERM, &e.calls, 1);
    deliver(deliver_user, 3);
    assert_int_equal(peek(&e.calls), 1);
    deliver(deliver_user, 3); /* rank 3 had a second one */
    assert_int_equal(peek(&e.calls), 2);
    deliver(deliver_user, 1);
    assert_int_equal(peek(&e.calls), 2);
    shutdown_serve(s, NULL, 0);
    shutdown_detach(s);
    assert_null(deliver);
    shutdown_close(s);
}

static void test_other_ranks_pass_on(void **state)
{
    (void)state;
    world w = {2, 4};
    shutdown_watch *s;
    told_zero = 0;
    assert_int_equal(shutdown_open(&s, NULL), STATUS_OK);
    assert_int_equal(shutdown_attach(s, &w, NULL), STATUS_OK);
    send(SIGUSR1, &told_zero, 1);
    assert_true(shutdown_asked(s));
    send(SIGUSR1, &told_zero, 2);
    shutdown_detach(s);
    shutdown_close(s);
}

/* Signals may come before there is a job to tell, or an engine to stop. */
static void test_an_early_signal_is_remembered(void **state)
{
    (void)state;
    shutdown_watch *s;
    world w = {1, 2};
    told_zero = 0;
    assert_int_equal(shutdown_open(&s, NULL), STATUS_OK);
    kill(getpid(), SIGTERM);
    for (int i = 0; i < 2000 && !shutdown_asked(s); i++) usleep(1000);
    assert_int_equal(shutdown_attach(s, &w, NULL), STATUS_OK);
    assert_int_equal(told_zero, 1);
    shutdown_detach(s);
    shutdown_close(s);

    engine e = {0};
    w = (world){0, 2};
    assert_int_equal(shutdown_open(&s, NULL), STATUS_OK);
    assert_int_equal(shutdown_attach(s, &w, NULL), STATUS_OK);
    kill(getpid(), SIGTERM);
    for (int i = 0; i < 2000 && !shutdown_asked(s); i++) usleep(1000);
    assert_true(shutdown_asked(s));
    shutdown_serve(s, &e, 30);
    assert_int_equal(e.calls, 1);
    assert_true(e.drain[0] == 0);
    shutdown_serve(s, NULL, 0);
    shutdown_detach(s);
    shutdown_close(s);
}

/* In a child: `n` signals. Returns its exit code. */
static int code_after(int n, int rank, bool serving)
{
    pid_t child = fork();
    if (child == 0) {
        world w = {rank, 2};
        engine e = {0};
        shutdown_watch *s;
        log_configure(LOG_ERROR, false, 0, 1);
        if (shutdown_open(&s, NULL) != STATUS_OK || shutdown_attach(s, &w, NULL) != STATUS_OK) _exit(99);
        if (serving) shutdown_serve(s, &e, 30);
        static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1}; /* different ones cannot merge while they wait */
        for (int i = 0; i < n; i++) kill(getpid(), numbers[i]);
        usleep(400000);
        _exit(0);
    }
    int code = -1;
    waitpid(child, &code, 0);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void test_insisting_leaves_at_once(void **state)
{
    (void)state;
    assert_int_equal(code_after(2, 0, true), 0);
    assert_int_equal(code_after(3, 0, true), 128 + SIGTERM);
    assert_int_equal(code_after(1, 0, false), 0);
    assert_int_equal(code_after(2, 0, false), 128 + SIGTERM);
    assert_int_equal(code_after(2, 1, false), 0);
    assert_int_equal(code_after(3, 1, false), 128 + SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_signal_drains),
        cmocka_unit_test(test_one_signal_to_all_ranks_is_one),
        cmocka_unit_test(test_other_ranks_pass_on),
        cmocka_unit_test(test_an_early_signal_is_remembered),
        cmocka_unit_test(test_insisting_leaves_at_once),
    };
    log_configure(LOG_WARN, false, 0, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
