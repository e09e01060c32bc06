/* Progress lines where there is no terminal, and times left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/progress.h"
#include "tests/unit/cmocka_headers.h"

static void times(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{-1, "?"}, {0, "0 s"}, {59.4, "59 s"}, {59.6, "1 min 00 s"}, {200, "3 min 20 s"}, {3900, "1 h 05 min"}, {1e9, "?"}};
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_string_equal(progress_time(cases[i].seconds, out), cases[i].text);
}

/* What progress_show() writes on standard error for these calls. */
static char *shown(const int64_t *done, int n, int64_t total)
{
    char *text = calloc(1, 65536);
    FILE *file = tmpfile();
    assert_non_null(text);
    assert_non_null(file);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    progress p = {.what = "copying"};
    for (int i = 0; i < n; i++) progress_show(&p, done[i], total);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, 65535, file)] = '\0';
    fclose(file);
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    while ((text = strstr(text, part))) text++, n++;
    return n;
}

static void lines_at_every_tenth(void **state)
{
    (void)state;
    int64_t done[1001];
    for (int i = 0; i <= 1000; i++) done[i] = i * 1024;
    char *text = shown(done, 1001, 1000 * 1024);
    assert_int_equal(count(text, "\n"), 11); /* none yet, each tenth; the last is all */
    assert_int_equal(count(text, "copying: 100 KiB of 1000 KiB"), 1);
    assert_int_equal(count(text, "copying: 1000 KiB of 1000 KiB"), 1);
    assert_int_equal(count(text, "left"), 9);
    free(text);
    text = shown((int64_t[]){500, 500, 1000}, 3, 1000); /* it goes on from half */
    assert_int_equal(count(text, "\n"), 2);
    free(text);
    text = shown((int64_t[]){0, 0}, 2, 0);
    assert_int_equal(count(text, "\n"), 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(times), cmocka_unit_test(lines_at_every_tenth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
