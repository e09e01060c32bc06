/* Log lines as they arrive on standard error. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "tests/unit/cmocka_headers.h"

static FILE *capture;
static int saved;

static void capture_begin(void)
{
    capture = tmpfile();
    assert_non_null(capture);
    saved = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
}

/* What was written since capture_begin(), NUL-terminated; free it. */
static char *capture_end(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    fseek(capture, 0, SEEK_END);
    size_t size = (size_t)ftell(capture);
    char *text = calloc(1, size + 1);
    rewind(capture);
    size_t got = fread(text, 1, size, capture);
    fclose(capture);
    assert_int_equal(got, size);
    return text;
}

static void test_text_line(void **state)
{
    (void)state;
    log_configure(LOG_INFO, false, 2, 4);
    capture_begin();
    log_info("loaded %d tensors", 7);
    char *text = capture_end();
    assert_non_null(strstr(text, "Z [2] info: loaded 7 tensors\n"));
    assert_int_equal(strlen(text), strlen("2025-01-01T00:00:00.000Z [2] info: loaded 7 tensors\n"));
    free(text);
}

static void test_levels(void **state)
{
    (void)state;
    log_configure(LOG_WARN, false, 0, 1);
    capture_begin();
    log_info("quiet");
    log_debug("quiet");
    log_warn("loud");
    log_error("louder");
    char *text = capture_end();
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, "Z warn: loud\n")); /* one rank: no rank in the line */
    assert_non_null(strstr(text, "Z error: louder\n"));
    assert_true(log_enabled(LOG_ERROR));
    assert_false(log_enabled(LOG_INFO));
    free(text);
}

static void test_json_is_escaped(void **state)
{
    (void)state;
    log_configure(LOG_INFO, true, 1, 2);
    capture_begin();
    log_info("say \"hi\"\\ \n\x01");
    char *text = capture_end();
    assert_non_null(strstr(text, "\"level\":\"info\",\"rank\":1,\"message\":\"say \\\"hi\\\"\\\\ \\u000a\\u0001\"}\n"));
    assert_int_equal(text[0], '{');
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    char long_text[9000];
    memset(long_text, '"', sizeof long_text - 1); /* doubles when escaped */
    long_text[sizeof long_text - 1] = '\0';
    for (int json = 0; json < 2; json++) {
        log_configure(LOG_INFO, json, 0, 1);
        capture_begin();
        log_info("%s", long_text);
        char *text = capture_end();
        size_t size = strlen(text);
        assert_true(size > 2000 && size < 5000);
        assert_int_equal(text[size - 1], '\n');
        if (json) assert_string_equal(text + size - 3, "\"}\n");
        free(text);
    }
}

enum { WRITERS = 4, LINES = 200 };

static void *write_lines(void *user)
{
    for (int i = 0; i < LINES; i++) log_info("writer %d says the whole of line %d end", *(int *)user, i);
    return NULL;
}

static void test_lines_of_threads_stay_whole(void **state)
{
    (void)state;
    pthread_t threads[WRITERS];
    int ids[WRITERS];
    log_configure(LOG_INFO, false, 0, 1);
    capture_begin();
    for (int i = 0; i < WRITERS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &ids[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    char *text = capture_end(), *rest = text;
    int lines = 0, who, which, used;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line; lines++) {
        used = 0;
        sscanf(line + strlen("2025-01-01T00:00:00.000Z info: "), "writer %d says the whole of line %d end%n", &who, &which, &used);
        assert_true(used > 0);
    }
    assert_int_equal(lines, WRITERS * LINES);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_json_is_escaped),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_lines_of_threads_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
