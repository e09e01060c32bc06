/* The set of lines that were dealt with. */
#include <stdio.h>

#include "launch/batch_ids.h"
#include "tests/unit/cmocka_headers.h"

enum { N = 100000 };

static kv_hash name_of(const batch_ids *set, int i)
{
    char name[64];
    int size = snprintf(name, sizeof name, "request-%d", i);
    return batch_ids_name(set, name, (size_t)size);
}

static void three_answers(void **state)
{
    (void)state;
    batch_ids set = {.key = {123, 456}};
    for (int i = 0; i < N; i += 2) assert_true(batch_ids_keep(&set, name_of(&set, i)));
    for (int i = 0; i < N; i += 4) assert_true(batch_ids_keep(&set, name_of(&set, i))); /* a second time says nothing new */
    for (int i = 0; i < N; i++) assert_int_equal(batch_ids_meet(&set, name_of(&set, i)), i % 2 ? BATCH_IDS_NEW : BATCH_IDS_BEFORE);
    for (int i = 0; i < N; i++) assert_int_equal(batch_ids_meet(&set, name_of(&set, i)), BATCH_IDS_AGAIN);
    for (int i = 1; i <= N; i++) assert_int_equal(batch_ids_meet(&set, batch_ids_number(&set, i)), BATCH_IDS_NEW);
    assert_int_equal(set.count, 2 * N);
    assert_true(set.capacity * sizeof *set.slots <= 64u * set.count); /* a million lines: 64 MB at most */
    batch_ids_free(&set);
}

static void lengths_tell_apart(void **state)
{
    (void)state;
    static const char zeros[600];
    batch_ids set = {.key = {9, 8}};
    for (size_t size = 1; size <= sizeof zeros; size++) assert_int_equal(batch_ids_meet(&set, batch_ids_name(&set, zeros, size)), BATCH_IDS_NEW);
    batch_ids_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(three_answers), cmocka_unit_test(lengths_tell_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
