/* An unfinished file on disk: what is there after it was left at any moment. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/fetch/digest.h"
#include "runtime/fetch/partial_file.h"
#include "tests/unit/cmocka_headers.h"

typedef struct place {
    char dir[64], data[80], record[80], final[80];
} place;

static int make_place(void **state)
{
    place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    strcpy(p->dir, "/tmp/gptoss_fetch_XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->data, sizeof p->data, "%s/data", p->dir);
    snprintf(p->record, sizeof p->record, "%s/record", p->dir);
    snprintf(p->final, sizeof p->final, "%s/final", p->dir);
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    place *p = *state;
    unlink(p->data);
    unlink(p->record);
    unlink(p->final);
    int result = rmdir(p->dir);
    free(p);
    return result;
}

static partial_file *reopen(const place *p, int64_t size, int64_t part_bytes)
{
    partial_file *file;
    status_detail detail;
    if (partial_file_open(p->data, p->record, size, part_bytes, &file, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return file;
}

static void add(partial_file *file, uint32_t part, const char *text)
{
    assert_int_equal(partial_file_write(file, part, text, strlen(text), NULL), STATUS_OK);
}

static void goes_on(void **state)
{
    const place *p = *state;
    partial_file *file = reopen(p, 10, 4);
    assert_int_equal(partial_file_plan(file)->count, 3);
    add(file, 2, "i");
    add(file, 0, "ab");
    partial_file_close(file);

    file = reopen(p, 10, 5); /* the record's parts stay */
    assert_int_equal(partial_file_plan(file)->count, 3);
    assert_int_equal(partial_file_done(file), 3);
    assert_int_equal(partial_file_part_done(file, 0), 2);
    assert_int_equal(partial_file_part_done(file, 1), 0);
    assert_true(partial_file_stored(p->data) > 0);
    add(file, 0, "cd");
    add(file, 1, "efgh");
    assert_false(partial_file_complete(file));
    add(file, 2, "j");
    assert_true(partial_file_complete(file));
    assert_int_equal(partial_file_publish(file, p->final, NULL), STATUS_OK);
    partial_file_close(file);

    char text[16] = "";
    FILE *out = fopen(p->final, "r");
    assert_non_null(out);
    assert_int_equal(fread(text, 1, sizeof text, out), 10);
    fclose(out);
    assert_string_equal(text, "abcdefghij");
    assert_int_equal(access(p->data, F_OK), -1);
    assert_int_equal(access(p->record, F_OK), -1);
    assert_int_equal(partial_file_stored(p->data), 0);
}

static void begins_anew(void **state)
{
    const place *p = *state;
    partial_file *file = reopen(p, 10, 4);
    add(file, 1, "efgh");
    partial_file_close(file);
    assert_int_equal(truncate(p->data, 7), 0); /* the record tells of bytes that are not there */
    file = reopen(p, 10, 5);
    assert_int_equal(partial_file_done(file), 0);
    assert_int_equal(partial_file_plan(file)->part_bytes, 5);
    add(file, 0, "abcde");
    partial_file_close(file);
    file = reopen(p, 11, 5); /* another size, another file */
    assert_int_equal(partial_file_done(file), 0);
    add(file, 0, "abcde");
    partial_file_close(file);
    assert_int_equal(truncate(p->record, 0), 0);
    file = reopen(p, 11, 5);
    assert_int_equal(partial_file_done(file), 0);

    add(file, 0, "abc");
    add(file, 1, "fg");
    assert_int_equal(partial_file_rewind(file, 0, NULL), STATUS_OK);
    partial_file_close(file);
    file = reopen(p, 11, 5);
    assert_int_equal(partial_file_done(file), 2);
    assert_int_equal(partial_file_restart(file, 11, NULL), STATUS_OK);
    partial_file_close(file);
    file = reopen(p, 11, 5);
    assert_int_equal(partial_file_done(file), 0);
    assert_int_equal(partial_file_plan(file)->count, 1);
    partial_file_close(file);
}

static void empty_files_and_places_that_are_not_there(void **state)
{
    const place *p = *state;
    partial_file *file = reopen(p, 0, 4);
    assert_true(partial_file_complete(file));
    partial_file_close(file);
    file = (partial_file *)0x1;
    status_detail detail;
    assert_int_equal(partial_file_open("/no/such/place/data", "/no/such/place/record", 10, 4, &file, &detail), STATUS_MACHINE);
    assert_ptr_equal(file, (partial_file *)0x1);
    assert_non_null(strstr(detail.text, "/no/such/place/data"));
}

/* Known sums: FIPS 180-2 (SHA-256 of "abc"), and `printf abc | git hash-object --stdin`. */
static void checksums(void **state)
{
    const place *p = *state;
    char found[HUB_DIGEST_SIZE];
    atomic_bool stop = false;
    partial_file *file = reopen(p, 3, 3);
    add(file, 0, "abc");
    int fd = partial_file_fd(file);
    assert_int_equal(digest_file(fd, 3, HUB_SHA256, "x", &stop, found, NULL), STATUS_OK);
    assert_string_equal(found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_file(fd, 3, HUB_GIT_BLOB, "x", &stop, found, NULL), STATUS_OK);
    assert_string_equal(found, "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
    assert_int_equal(digest_file(fd, 0, HUB_GIT_BLOB, "x", &stop, found, NULL), STATUS_OK);
    assert_string_equal(found, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_int_equal(digest_file(fd, 4, HUB_SHA256, "x", &stop, found, NULL), STATUS_MACHINE);
    atomic_store(&stop, true);
    assert_int_equal(digest_file(fd, 3, HUB_SHA256, "x", &stop, found, NULL), STATUS_BUSY);
    assert_string_equal(found, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    partial_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_on, make_place, remove_place),
        cmocka_unit_test_setup_teardown(begins_anew, make_place, remove_place),
        cmocka_unit_test_setup_teardown(empty_files_and_places_that_are_not_there, make_place, remove_place),
        cmocka_unit_test_setup_teardown(checksums, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
