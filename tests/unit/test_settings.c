/* What a configuration says arrives: defaults, YAML, flags, and the order in which they win. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/settings.h"
#include "tests/unit/cmocka_headers.h"

static status_detail detail;

static void read_text(settings *s, const char *text)
{
    status result = settings_read_yaml(s, "test.yaml", text, strlen(text), &detail);
    if (result != STATUS_OK) fail_msg("%s", detail.text);
}

static void start(settings *s) { assert_int_equal(settings_init(s, &detail), STATUS_OK); }

static void test_defaults(void **state)
{
    (void)state;
    settings s;
    start(&s);
    assert_null(s.model.path);
    assert_int_equal(s.model.names.count, 0);
    assert_int_equal(s.model.weights, WEIGHTS_CHECKPOINT);
    assert_int_equal(s.parallel.attention, ATTENTION_AUTO);
    assert_int_equal(s.engine.max_model_len, SETTINGS_AUTO);
    assert_int_equal(s.engine.max_sequences, 256);
    assert_int_equal(s.engine.max_tokens_per_step, 8192);
    assert_int_equal(s.engine.kv_cache, SETTINGS_AUTO);
    assert_true(s.engine.prefix_cache);
    assert_int_equal(s.backend, BACKEND_AUTO);
    assert_string_equal(s.server.host, "127.0.0.1");
    assert_int_equal(s.server.port, 8000);
    assert_null(s.server.api_keys_file);
    assert_int_equal(s.server.drain_seconds, 30);
    assert_int_equal(s.log.level, LOG_INFO);
    settings_free(&s);
    assert_null(s.server.host);
}

static void test_every_key_of_a_file(void **state)
{
    (void)state;
    settings s;
    start(&s);
    read_text(&s, "model:\n  path: some/where   # a comment\n  name: [a, 'b c']\n  weights: dummy\n"
                  "parallel:\n  attention: dp\n  experts: ep\n  share_gpu: true\n"
                  "engine:\n  max_model_len: 4096\n  max_sequences: 7\n  max_tokens_per_step: 77\n  kv_cache: 1.5GiB\n"
                  "  prefix_cache: false\n  threads: 3\n"
                  "backend: cpu\n"
                  "server: {host: '::1', port: 0, api_keys_file: keys.txt, max_queue: 5, max_body: 2MB, max_responses: 1MiB, drain_seconds: 0}\n"
                  "log:\n  level: debug\n  format: json\n");
    assert_string_equal(s.model.path, "some/where");
    assert_int_equal(s.model.names.count, 2);
    assert_string_equal(s.model.names.items[1], "b c");
    assert_int_equal(s.model.weights, WEIGHTS_DUMMY);
    assert_int_equal(s.parallel.attention, ATTENTION_DP);
    assert_int_equal(s.parallel.experts, EXPERTS_EP);
    assert_true(s.parallel.share_gpu);
    assert_int_equal(s.engine.max_model_len, 4096);
    assert_int_equal(s.engine.max_sequences, 7);
    assert_int_equal(s.engine.max_tokens_per_step, 77);
    assert_int_equal(s.engine.kv_cache, INT64_C(3) << 29);
    assert_false(s.engine.prefix_cache);
    assert_int_equal(s.engine.threads, 3);
    assert_int_equal(s.backend, BACKEND_CPU);
    assert_string_equal(s.server.host, "::1");
    assert_int_equal(s.server.port, 0);
    assert_string_equal(s.server.api_keys_file, "keys.txt");
    assert_int_equal(s.server.max_queue, 5);
    assert_int_equal(s.server.max_body, 2000000);
    assert_int_equal(s.server.max_responses, 1 << 20);
    assert_int_equal(s.server.drain_seconds, 0);
    assert_int_equal(s.log.level, LOG_DEBUG);
    assert_int_equal(s.log.format, LOG_FORMAT_JSON);
    settings_free(&s);
}

static void test_emptiness_means_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "---\n", "{}", "model:\nserver:\n  # port: 1\n", "~", "\xef\xbb\xbf" "model: {}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        settings s;
        start(&s);
        read_text(&s, texts[i]);
        assert_int_equal(s.server.port, 8000);
        settings_free(&s);
    }
}

static void test_null_takes_back_an_optional_value(void **state)
{
    (void)state;
    settings s;
    start(&s);
    read_text(&s, "server: {api_keys_file: keys}\nmodel: {name: x, path: 'null'}\n");
    assert_string_equal(s.model.path, "null"); /* quotes make it a text */
    read_text(&s, "server: {api_keys_file: null}\nmodel: {name: , path: ~}\n");
    assert_null(s.server.api_keys_file);
    assert_null(s.model.path);
    assert_int_equal(s.model.names.count, 0);
    settings_free(&s);
}

static void test_flags_in_both_spellings_leave_the_rest(void **state)
{
    (void)state;
    settings s;
    start(&s);
    char *argv[] = {"gptoss-tp", "plan",         "--port=1234",          "conf.yaml",      "--host", "0.0.0.0", "--ranks",
                    "4",         "--set",        "engine.kv_cache=1GiB", "--set=log.level=warn",   "--served-model-name", "a,b", "--backend",
                    "cpu",       "--max-model-len", "99", "--model", "m=n", "--", "--port", "5"};
    int argc = sizeof argv / sizeof *argv;
    assert_int_equal(settings_take_flags(&s, &argc, argv, &detail), STATUS_OK);
    static const char *const rest[] = {"gptoss-tp", "plan", "conf.yaml", "--ranks", "4", "--", "--port", "5"};
    assert_int_equal(argc, 8);
    for (int i = 0; i < argc; i++) assert_string_equal(argv[i], rest[i]);
    assert_int_equal(s.server.port, 1234);
    assert_string_equal(s.server.host, "0.0.0.0");
    assert_int_equal(s.engine.kv_cache, INT64_C(1) << 30);
    assert_int_equal(s.log.level, LOG_WARN);
    assert_int_equal(s.model.names.count, 2);
    assert_string_equal(s.model.names.items[1], "b");
    assert_int_equal(s.backend, BACKEND_CPU);
    assert_int_equal(s.engine.max_model_len, 99);
    assert_string_equal(s.model.path, "m=n");
    settings_free(&s);
}

static void test_a_wrong_flag_changes_nothing(void **state)
{
    (void)state;
    settings s;
    start(&s);
    char *argv[] = {"gptoss-tp", "--port", "1234", "--set", "engine.max_sequences=none"};
    int argc = 5;
    assert_int_equal(settings_take_flags(&s, &argc, argv, &detail), STATUS_USAGE);
    assert_int_equal(argc, 5);
    assert_string_equal(argv[1], "--port");
    assert_int_equal(s.server.port, 8000);
    settings_free(&s);
}

static void test_a_wrong_file_changes_nothing(void **state)
{
    (void)state;
    settings s;
    start(&s);
    const char *text = "server:\n  port: 1\n  host: elsewhere\nlog:\n  level: loud\n";
    assert_int_equal(settings_read_yaml(&s, "x", text, strlen(text), &detail), STATUS_USAGE);
    assert_int_equal(s.server.port, 8000);
    assert_string_equal(s.server.host, "127.0.0.1");
    settings_free(&s);
}

static void test_names_come_from_the_path(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"openai/gpt-oss-120b", "gpt-oss-120b"}, {"models/tiny/", "tiny"}, {"/a/b//", "b"}, {"plain", "plain"}, {"/", "model"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings s;
        start(&s);
        assert_int_equal(settings_set(&s, "--model", "model.path", cases[i][0], &detail), STATUS_OK);
        assert_int_equal(settings_finish(&s, &detail), STATUS_OK);
        assert_int_equal(s.model.names.count, 1);
        assert_string_equal(s.model.names.items[0], cases[i][1]);
        settings_free(&s);
    }
    settings s;
    start(&s);
    read_text(&s, "model: {path: a/b, name: c}");
    assert_int_equal(settings_finish(&s, &detail), STATUS_OK);
    assert_string_equal(s.model.names.items[0], "c");
    settings_free(&s);
}

static void test_a_step_must_hold_a_token_of_each_sequence(void **state)
{
    (void)state;
    settings s;
    start(&s);
    read_text(&s, "engine: {max_sequences: 64, max_tokens_per_step: 64}");
    assert_int_equal(settings_finish(&s, &detail), STATUS_OK);
    read_text(&s, "engine: {max_tokens_per_step: 63}");
    assert_int_equal(settings_finish(&s, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "engine.max_sequences: found 64"));
    settings_free(&s);
}

static void test_shipped_configurations_are_valid(void **state)
{
    (void)state;
    static const char *const names[] = {"120b", "20b", "tiny"};
    for (size_t i = 0; i < 3; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/../configs/%s.yaml", getenv("GPTOSS_TESTS_DIR"), names[i]);
        settings s;
        start(&s);
        if (settings_read_file(&s, path, &detail) != STATUS_OK || settings_finish(&s, &detail) != STATUS_OK) fail_msg("%s", detail.text);
        assert_non_null(s.model.path);
        settings_free(&s);
    }
}

static void test_help_names_every_documented_key(void **state)
{
    (void)state;
    static const char *const words[] = {"model.path",  "model.weights", "parallel.attention", "engine.kv_cache", "backend", "server.port", "--port",
                                        "server.drain_seconds", "log.format", "from 0 to 65535", "one of auto, tp, dp", "20GiB"};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    settings_help(out);
    fclose(out);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(text, words[i])) fail_msg("--help lacks %s", words[i]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key_of_a_file),
        cmocka_unit_test(test_emptiness_means_defaults),
        cmocka_unit_test(test_null_takes_back_an_optional_value),
        cmocka_unit_test(test_flags_in_both_spellings_leave_the_rest),
        cmocka_unit_test(test_a_wrong_flag_changes_nothing),
        cmocka_unit_test(test_a_wrong_file_changes_nothing),
        cmocka_unit_test(test_names_come_from_the_path),
        cmocka_unit_test(test_a_step_must_hold_a_token_of_each_sequence),
        cmocka_unit_test(test_shipped_configurations_are_valid),
        cmocka_unit_test(test_help_names_every_documented_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
