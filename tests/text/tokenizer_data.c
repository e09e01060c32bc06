#include "tests/text/tokenizer_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *tokenizer_data_path(const char *name)
{
    static char path[4096];
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    if (!tests) fail_msg("set GPTOSS_TESTS_DIR to the tests folder");
    snprintf(path, sizeof path, "%s/%s", tests, name);
    return path;
}

const char *tokenizer_data_vocabulary(void) { return tokenizer_data_path("../runtime/text/data/o200k_base.tiktoken"); }

tokenizer *tokenizer_data_open(void)
{
    tokenizer *t = NULL;
    status_detail detail = {{0}};
    if (tokenizer_open(tokenizer_data_vocabulary(), &t, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return t;
}

json_t *tokenizer_data_json(const char *name)
{
    json_error_t error;
    json_t *root = json_load_file(tokenizer_data_path(name), JSON_ALLOW_NUL, &error);
    if (!root) fail_msg("%s:%d: %s", name, error.line, error.text);
    return root;
}

int tokenizer_data_agrees(const tokenizer *t, const char *text, size_t size, const json_t *expected)
{
    id_list ids = {0};
    status_detail detail = {{0}};
    status result = tokenizer_encode(t, text, size, &ids, &detail);
    int equal = result == STATUS_OK && ids.count == json_array_size(expected);
    for (size_t i = 0; equal && i < ids.count; i++)
        equal = ids.ids[i] == json_integer_value(json_array_get(expected, i));
    if (!equal) {
        char *wanted = json_dumps(expected, JSON_COMPACT);
        printf("text: %.*s\nexpected: %s\n     got: ", (int)size, text, wanted);
        for (size_t i = 0; i < ids.count; i++) printf("%d,", (int)ids.ids[i]);
        printf(" %s\n", result == STATUS_OK ? "" : detail.text);
        free(wanted);
    }
    id_list_free(&ids);
    return equal;
}

size_t tokenizer_data_cases(void (*check)(const json_t *line, void *user), void *user)
{
    char command[4200], *line = NULL;
    size_t capacity = 0, count = 0;
    snprintf(command, sizeof command, "gzip -dc '%s'", tokenizer_data_path("data/tokenizer/cases.jsonl.gz"));
    FILE *lines = popen(command, "r");
    if (!lines) fail_msg("cannot run %s", command);
    while (getline(&line, &capacity, lines) > 0) {
        json_t *value = json_loads(line, JSON_ALLOW_NUL, NULL);
        if (!value) fail_msg("case %zu is not JSON", count);
        check(value, user);
        json_decref(value);
        count++;
    }
    free(line);
    assert_int_equal(pclose(lines), 0);
    return count;
}

uint32_t tokenizer_data_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}
