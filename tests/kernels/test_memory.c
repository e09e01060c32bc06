/* What a backend says of its device's memory. */
#include "tests/kernels/suite.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TAKEN = 256 << 20 };

static void check(const ops_memory *m)
{
    assert_true(m->device >= -1);
    assert_true(m->total >= (int64_t)TAKEN && m->used > 0 && m->used <= m->total);
}

static void what_is_taken_is_among_what_is_used(void **state)
{
    suite s;
    ops_shape shape = suite_shape();
    ops_memory before, after;
    status_detail detail;
    void *taken;
    suite_open(&s, *state, &shape, 0);
    assert_true(s.ops->memory(s.c, &before));
    check(&before);
    char *text = malloc(TAKEN);
    memset(text, 1, TAKEN);
    assert_int_equal(s.ops->allocate(s.c, TAKEN, &taken, &detail), STATUS_OK);
    assert_int_equal(s.ops->upload(s.c, taken, text, TAKEN, &detail), STATUS_OK);
    free(text); /* a block of this size goes back to the system at once */
    assert_true(s.ops->memory(s.c, &after));
    check(&after);
    assert_true(after.total == before.total && after.device == before.device);
    int64_t grown = after.used - before.used;
    /* others may take and give back on the same GPU or in this process meanwhile */
    assert_true(grown > TAKEN * 3 / 4);
    suite_close(&s);
}

typedef struct looker {
    const suite *s;
    ops_memory seen;
    bool good;
} looker;

static void *look(void *user)
{
    looker *l = user;
    l->good = l->s->ops->memory(l->s->c, &l->seen);
    return NULL;
}

static void any_thread_may_look(void **state)
{
    suite s;
    ops_shape shape = suite_shape();
    suite_open(&s, *state, &shape, 0);
    looker l = {.s = &s};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
    pthread_join(thread, NULL);
    assert_true(l.good);
    check(&l.seen);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_is_among_what_is_used),
        cmocka_unit_test(any_thread_may_look),
    };
    return suite_main("memory", tests, sizeof tests / sizeof *tests);
}
