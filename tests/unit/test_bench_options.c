/* What `gptoss-tp bench` understands. */
#include <stdlib.h>
#include <string.h>

#include "launch/bench_options.h"
#include "launch/configuration.h"
#include "tests/unit/cmocka_headers.h"

static status_detail detail;

/* Without files: the verb's own flags, and one word. */
status configuration_read(int argc, char **argv, const argument *own, size_t n_own, settings *out, status_detail *why)
{
    const char *file;
    arguments a = {.flags = own, .n_flags = n_own, .positional_name = "configuration file", .positional = &file, .settings_flags = true};
    STATUS_TRY(arguments_parse(&a, argc, argv, why));
    return settings_init(out, why);
}

static void assert_list(const bench_list *list, int count, const int *values)
{
    assert_int_equal(list->count, count);
    for (int i = 0; i < count; i++) assert_int_equal(list->values[i], values[i]);
}

static void lists_are_sorted_and_unique(void **state)
{
    (void)state;
    bench_list list;
    assert_true(bench_options_list("64,1,8,1", 1, 100, &list));
    assert_list(&list, 3, (int[]){1, 8, 64});
    char many[256] = "1";
    for (int i = 2; i <= BENCH_MAX_LIST; i++) sprintf(many + strlen(many), ",%d", i);
    assert_true(bench_options_list(many, 1, 100, &list));
    assert_int_equal(list.count, BENCH_MAX_LIST);
}

static void wrong_lists_change_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", ",", "1,", "1,,2", "0", "101", "-1", "1;2", "1 2", "x", "99999999999999999999", "1,2x"};
    bench_list list = {.count = 77};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (bench_options_list(wrong[i], 1, 100, &list) || list.count != 77) fail_msg("'%s' was taken", wrong[i]);
    char many[256] = "1";
    for (int i = 2; i <= BENCH_MAX_LIST + 1; i++) sprintf(many + strlen(many), ",%d", i);
    assert_false(bench_options_list(many, 1, 100, &list));
}

static void rates_know_prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *unit;
        double value;
    } right[] = {{"4.55TB/s", "B/s", 4.55e12}, {"4550 GB/s", "B/s", 4550e9}, {"790T", "FLOP/s", 790e12}, {"790TFLOP/s", "FLOP/s", 790e12},
                 {"1e12", "B/s", 1e12}, {"2.5kb/s", "B/s", 2500}, {"1PFLOP/s", "FLOP/s", 1e15}, {"12B/s", "B/s", 12}};
    static const char *const wrong[] = {"", "TB/s", "-1T", "0", "4.55TB", "4.55TiB/s", "nan", "inf", "1X", "1T FLOP"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        double value = 0;
        if (!bench_options_rate(right[i].text, right[i].unit, &value)) fail_msg("'%s' was refused", right[i].text);
        assert_true(value > right[i].value * (1 - 1e-12) && value < right[i].value * (1 + 1e-12));
    }
    double value = 5;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (bench_options_rate(wrong[i], "B/s", &value) || value != 5) fail_msg("'%s' was taken", wrong[i]);
}

static void the_command_line_is_read(void **state)
{
    (void)state;
    bench_options o;
    settings s;
    char *words[] = {"bench", "c.yaml", "--case", "decode", "--batch=4,2", "--context", "300", "--seconds", "0.5", "--json", "f", "--flops", "1T"};
    assert_int_equal(bench_options_read(13, words, &o, &s, &detail), STATUS_OK);
    assert_int_equal(o.cases, BENCH_DECODE);
    assert_list(&o.batches, 2, (int[]){2, 4});
    assert_int_equal(o.prompts.count, 0);
    assert_int_equal(o.context, 300);
    assert_true(o.seconds == 0.5 && o.limits.flops == 1e12 && o.limits.bandwidth == 0);
    assert_string_equal(o.json, "f");
    settings_free(&s);
    assert_int_equal(bench_options_read(1, words, &o, &s, &detail), STATUS_OK);
    assert_int_equal(o.cases, BENCH_ALL);
    settings_free(&s);
}

static void wrong_words_name_their_flag(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {{"--case", "speed"}, {"--batch", "0"}, {"--batch", "9000"}, {"--context", "1"}, {"--prompt", "x"},
                                           {"--seconds", "0"}, {"--seconds", "1s"}, {"--bandwidth", "fast"}, {"--flops", "-1T"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bench_options o;
        settings s;
        char *words[] = {"bench", (char *)wrong[i][0], (char *)wrong[i][1]};
        assert_int_equal(bench_options_read(3, words, &o, &s, &detail), STATUS_USAGE);
        if (!strstr(detail.text, wrong[i][0])) fail_msg("%s", detail.text);
    }
}

static void defaults_follow_model_and_layout(void **state)
{
    (void)state;
    bench_options o = {.cases = BENCH_ALL, .context = 1024};
    assert_int_equal(bench_options_complete(&o, 4, 2, 5000, &detail), STATUS_OK);
    assert_list(&o.batches, 4, (int[]){1, 2, 4, 8}); /* 4 in each of two groups */
    assert_list(&o.prompts, 4, (int[]){512, 1024, 2048, 4096});
    o = (bench_options){.cases = BENCH_ALL, .context = 1024};
    assert_int_equal(bench_options_complete(&o, 4096, 1, 131072, &detail), STATUS_OK);
    assert_int_equal(o.batches.values[o.batches.count - 1], 1024);
    assert_int_equal(o.prompts.values[o.prompts.count - 1], 32768);
    o = (bench_options){.cases = BENCH_PREFILL, .context = 1024};
    assert_int_equal(bench_options_complete(&o, 4, 1, 300, &detail), STATUS_OK);
    assert_list(&o.prompts, 1, (int[]){300});
}

static void what_goes_beyond_the_model_is_refused(void **state)
{
    (void)state;
    bench_options o = {.cases = BENCH_ALL, .context = 1024};
    assert_int_equal(bench_options_complete(&o, 4, 1, 1000, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "--context"));
    o = (bench_options){.cases = BENCH_PREFILL, .prompts = {.values = {5, 2000}, .count = 2}};
    assert_int_equal(bench_options_complete(&o, 4, 1, 1000, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "--prompt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_sorted_and_unique),     cmocka_unit_test(wrong_lists_change_nothing),
        cmocka_unit_test(rates_know_prefixes),             cmocka_unit_test(the_command_line_is_read),
        cmocka_unit_test(wrong_words_name_their_flag),     cmocka_unit_test(defaults_follow_model_and_layout),
        cmocka_unit_test(what_goes_beyond_the_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
