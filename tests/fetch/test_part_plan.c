/* Parts of a file and the record of them. */
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/part_plan.h"
#include "tests/unit/cmocka_headers.h"

static void assert_plan(int64_t size, int64_t part_bytes)
{
    part_plan plan = part_plan_make(size, part_bytes);
    assert_true(plan.size == size && plan.count <= PART_PLAN_MOST);
    assert_true(plan.part_bytes >= part_bytes);
    int64_t at = 0;
    for (uint32_t i = 0; i < plan.count; i++) {
        assert_true(part_plan_start(&plan, i) == at);
        assert_true(part_plan_length(&plan, i) > 0 && part_plan_length(&plan, i) <= plan.part_bytes);
        at += part_plan_length(&plan, i);
    }
    assert_true(at == size);
}

static void parts_cover_the_file(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 99, 100, 101, 1000, 65537, INT64_C(4792272488), INT64_MAX};
    static const int64_t parts[] = {1, 100, 64 << 20, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) assert_plan(sizes[i], parts[k]);
    part_plan plan = part_plan_make(INT64_C(4792272488), 64 << 20);
    assert_int_equal(plan.count, 72);
    assert_int_equal(part_plan_make(0, 5).count, 0);
}

/* A record of 250 bytes in parts of 100 with 100, 7 and 0 here; malloc'ed. */
static uint8_t *make_record(size_t *bytes)
{
    static const int64_t done[3] = {100, 7, 0};
    part_plan plan = part_plan_make(250, 100);
    *bytes = part_record_size(&plan);
    uint8_t *record = malloc(*bytes);
    assert_non_null(record);
    part_record_header(&plan, record);
    for (int i = 0; i < 3; i++) part_record_entry(done[i], record + PART_RECORD_HEADER + i * PART_RECORD_ENTRY);
    return record;
}

static void records(void **state)
{
    (void)state;
    size_t bytes;
    uint8_t *record = make_record(&bytes);
    part_plan plan = {0};
    assert_true(part_record_parse(record, bytes, 250, &plan));
    assert_int_equal(plan.count, 3);
    assert_int_equal(plan.part_bytes, 100);
    assert_int_equal(part_record_done(record, 1), 7);
    free(record);
}

static void wrong_records(void **state)
{
    (void)state;
    size_t bytes;
    uint8_t *record = make_record(&bytes);
    part_plan plan = {.count = 77};
    assert_false(part_record_parse(record, bytes, 251, &plan));
    for (size_t n = 0; n < bytes; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* of its own, so that reading past it shows */
        assert_non_null(cut);
        memcpy(cut, record, n);
        assert_false(part_record_parse(cut, n, 250, &plan));
        free(cut);
    }
    /* every byte of the header counts, and a part cannot hold more than its length */
    for (size_t i = 0; i < PART_RECORD_HEADER; i++) {
        record[i] ^= 0x80;
        assert_false(part_record_parse(record, bytes, 250, &plan));
        record[i] ^= 0x80;
    }
    static const int64_t wrong[] = {51, -1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        part_record_entry(wrong[i], record + PART_RECORD_HEADER + 2 * PART_RECORD_ENTRY);
        assert_false(part_record_parse(record, bytes, 250, &plan));
    }
    assert_int_equal(plan.count, 77);
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_cover_the_file), cmocka_unit_test(records), cmocka_unit_test(wrong_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
