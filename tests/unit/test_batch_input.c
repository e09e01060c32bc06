/* Lines out of a file or a pipe, whatever the pieces they come in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/batch_input.h"
#include "tests/unit/cmocka_headers.h"

static void pieces(void **state)
{
    (void)state;
    int ends[2];
    char *line = NULL;
    size_t size = 0;
    assert_int_equal(pipe(ends), 0);
    batch_input in = {.fd = ends[0], .limit = 10};
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_WAIT);
    assert_int_equal(write(ends[1], "one\n \t\r\ntw", 10), 10);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_LINE);
    assert_true(size == 3 && !memcmp(line, "one", 3) && in.line == 1 && in.offset == 0 && !in.torn);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_WAIT);
    assert_int_equal(write(ends[1], "o\n0123456789\n01234567890", 24), 24);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_LINE);
    assert_true(size == 3 && !memcmp(line, "two", 3) && in.line == 3 && in.offset == 8);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_LINE);
    assert_true(size == 10 && in.line == 4 && in.offset == 12);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_WAIT); /* it is too long already */
    assert_int_equal(write(ends[1], "xxxxx\nlast", 10), 10);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_LONG);
    assert_true(in.line == 5);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_WAIT);
    close(ends[1]);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_LINE);
    assert_true(size == 4 && !memcmp(line, "last", 4) && in.line == 6 && in.torn);
    assert_true(in.offset == 12 + 11 + 17);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_END);
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_END);
    batch_input_free(&in);
    close(ends[0]);
}

/* Many lines of many lengths: all come, none is held for longer than needed. */
static void a_long_file(void **state)
{
    (void)state;
    enum { N = 20000 };
    FILE *file = tmpfile();
    char *line, *text = malloc(5000);
    size_t size;
    assert_non_null(file);
    memset(text, 'a', 5000);
    for (int i = 0; i < N; i++) fprintf(file, "%.*s\n", 1 + i * 37 % 4999, text);
    fflush(file);
    rewind(file);
    batch_input in = {.fd = fileno(file), .limit = 4500};
    for (int i = 0; i < N; i++) {
        batch_input_found found = batch_input_next(&in, &line, &size);
        int expected = 1 + i * 37 % 4999;
        assert_int_equal(found, expected > 4500 ? BATCH_INPUT_LONG : BATCH_INPUT_LINE);
        if (found == BATCH_INPUT_LINE) assert_int_equal(size, expected);
    }
    assert_int_equal(batch_input_next(&in, &line, &size), BATCH_INPUT_END);
    assert_true(in.data.capacity < 2 << 20);
    batch_input_free(&in);
    free(text);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces), cmocka_unit_test(a_long_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
