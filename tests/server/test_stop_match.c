/* The matcher against a plain search, over every way to cut small texts and many random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/stop_match.h"

/* Where the first match ends, and which: by the definition. Returns -1 for none. */
static int search(const stop_set *set, const char *text, size_t size, size_t *end)
{
    for (size_t i = 1; i <= size; i++) {
        int best = -1;
        for (int k = 0; k < set->n; k++) {
            const buffer *s = &set->strings[k];
            if (s->size <= i && !memcmp(text + i - s->size, s->data, s->size) && (best < 0 || s->size > set->strings[best].size)) best = k;
        }
        *end = i;
        if (best >= 0) return best;
    }
    return -1;
}

/* Pushes `text` cut at random places; checks that what is out is never more than what is certain, and ends as the definition says. */
static void check(const stop_set *set, const char *text, size_t size, bool include, unsigned *seed)
{
    stop_match m = {0};
    buffer out = {0};
    int found = -1;
    size_t end = 0;
    int wanted = search(set, text, size, &end);
    size_t limit = wanted < 0 ? size : include ? end : end - set->strings[wanted].size;
    for (size_t at = 0; at < size && found < 0;) {
        size_t n = 1 + (size_t)rand_r(seed) % 4;
        if (n > size - at) n = size - at;
        assert_true(stop_match_push(&m, set, text + at, n, include, &out, &found));
        assert_true(out.size <= limit);
        at += n;
    }
    assert_int_equal(found, wanted);
    if (found < 0) assert_true(stop_match_flush(&m, &out));
    assert_int_equal(out.size, limit);
    assert_memory_equal(out.data ? out.data : "", text, limit);
    buffer_free(&out);
    stop_match_free(&m);
}

static void test_random_texts_agree_with_a_plain_search(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        stop_set set = {0};
        int n = 1 + rand_r(&seed) % 4;
        for (int k = 0; k < n; k++) {
            char string[6];
            size_t size = 1 + (size_t)rand_r(&seed) % 5;
            for (size_t i = 0; i < size; i++) string[i] = "ab"[rand_r(&seed) % 2];
            assert_true(stop_set_add(&set, string, size));
        }
        char text[24];
        size_t size = (size_t)rand_r(&seed) % sizeof text;
        for (size_t i = 0; i < size; i++) text[i] = "aabbc"[rand_r(&seed) % 5];
        check(&set, text, size, round & 1, &seed);
        stop_set_free(&set);
    }
}

static void test_only_a_possible_beginning_is_held_back(void **state)
{
    (void)state;
    stop_set set = {0};
    stop_match m = {0};
    buffer out = {0};
    int found;
    assert_true(stop_set_add(&set, "\n\nUser:", 7));
    assert_true(stop_match_push(&m, &set, "Hello\n", 6, false, &out, &found));
    assert_string_equal(out.data, "Hello");
    assert_true(stop_match_push(&m, &set, "world", 5, false, &out, &found));
    assert_string_equal(out.data, "Hello\nworld");
    assert_true(stop_match_push(&m, &set, "\n\nUs", 4, false, &out, &found));
    assert_true(stop_match_push(&m, &set, "er: and more", 12, false, &out, &found));
    assert_int_equal(found, 0);
    assert_string_equal(out.data, "Hello\nworld");
    buffer_free(&out);
    stop_match_free(&m);
    stop_set_free(&set);
}

static void test_a_set_that_is_full_refuses(void **state)
{
    (void)state;
    stop_set set = {0};
    for (int i = 0; i < STOP_MATCH_MAX_STRINGS; i++) assert_true(stop_set_add(&set, "x", 1));
    assert_false(stop_set_add(&set, "x", 1));
    stop_set_free(&set);
}

static void test_a_long_text_costs_a_step_a_byte(void **state)
{
    (void)state;
    stop_set set = {0};
    stop_match m = {0};
    buffer out = {0};
    int found = -1;
    char *stop = malloc(STOP_MATCH_MAX_SIZE);
    assert_non_null(stop);
    memset(stop, 'a', STOP_MATCH_MAX_SIZE);
    stop[STOP_MATCH_MAX_SIZE - 1] = 'b';
    assert_true(stop_set_add(&set, stop, STOP_MATCH_MAX_SIZE));
    /* the worst case: the text is always one byte short of a match, so thousands of bytes are held all the time */
    for (int i = 0; i < 1000000 && found < 0; i++) assert_true(stop_match_push(&m, &set, "a", 1, false, &out, &found));
    assert_int_equal(found, -1);
    assert_int_equal(out.size, 1000000 - (STOP_MATCH_MAX_SIZE - 1));
    assert_true(stop_match_push(&m, &set, "b", 1, false, &out, &found));
    assert_int_equal(found, 0);
    free(stop);
    buffer_free(&out);
    stop_match_free(&m);
    stop_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_texts_agree_with_a_plain_search),
        cmocka_unit_test(test_only_a_possible_beginning_is_held_back),
        cmocka_unit_test(test_a_set_that_is_full_refuses),
        cmocka_unit_test(test_a_long_text_costs_a_step_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
