#include "tests/text/harmony_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "runtime/text/utf8.h"

const char *const harmony_fixture_functions[3] = {"lookup_weather", "f", "get.time"};

char *harmony_fixture_path(const char *path)
{
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    if (!tests) fail_msg("set GPTOSS_TESTS_DIR to the tests folder");
    buffer b = {0};
    assert_true(buffer_printf(&b, "%s/%s", tests, path));
    return b.data;
}

int harmony_fixture_open(void **state)
{
    harmony_fixture *f = calloc(1, sizeof *f);
    char *path = harmony_fixture_path("../runtime/text/data/o200k_base.tiktoken");
    status_detail detail = {""};
    if (tokenizer_open(path, &f->tokens, &detail) != STATUS_OK || harmony_open(f->tokens, &f->h, &detail) != STATUS_OK)
        fail_msg("%s", detail.text);
    free(path);
    *state = f;
    return 0;
}

int harmony_fixture_close(void **state)
{
    harmony_fixture *f = *state;
    harmony_close(f->h);
    tokenizer_close(f->tokens);
    free(f);
    return 0;
}

json_t *harmony_fixture_json(const char *path)
{
    char *full = harmony_fixture_path(path);
    json_error_t error;
    json_t *value = json_load_file(full, 0, &error);
    if (!value) fail_msg("%s: %s", full, error.text);
    free(full);
    return value;
}

size_t harmony_fixture_lines(const char *path, void (*visit)(harmony_fixture *f, const json_t *line, size_t number),
                             harmony_fixture *f)
{
    char *full = harmony_fixture_path(path), *line = NULL;
    buffer command = {0};
    assert_true(buffer_printf(&command, "gzip -dc '%s'", full));
    FILE *unpacked = popen(command.data, "r");
    assert_non_null(unpacked);
    size_t capacity = 0, count = 0;
    for (ssize_t size; (size = getline(&line, &capacity, unpacked)) > 0; count++) {
        json_error_t error;
        json_t *value = json_loadb(line, (size_t)size, 0, &error);
        if (!value) fail_msg("%s, line %zu: %s", full, count + 1, error.text);
        visit(f, value, count + 1);
        json_decref(value);
    }
    assert_int_equal(pclose(unpacked), 0);
    free(line);
    free(full);
    buffer_free(&command);
    return count;
}

void harmony_fixture_encode(const harmony_fixture *f, const char *marked, id_list *out)
{
    const char *plain = marked;
    for (const char *at = marked;;) {
        const char *open = strstr(at, "<|"), *close = open ? strstr(open, "|>") : NULL;
        int32_t id = -1;
        if (close) {
            char name[32] = "";
            if (close + 2 - open < (ptrdiff_t)sizeof name) memcpy(name, open, (size_t)(close + 2 - open));
            id = tokenizer_special(f->tokens, name);
            at = open + 2;
            if (id < 0) continue;
        }
        const char *end = id >= 0 ? open : marked + strlen(marked);
        if (end > plain)
            assert_int_equal(tokenizer_encode(f->tokens, plain, (size_t)(end - plain), out, NULL), STATUS_OK);
        if (id < 0) return;
        assert_true(id_list_push(out, id));
        plain = at = close + 2;
    }
}

void harmony_fixture_decode(const harmony_fixture *f, const id_list *ids, buffer *out)
{
    for (size_t i = 0; i < ids->count; i++) {
        size_t size;
        const char *bytes = tokenizer_bytes(f->tokens, ids->ids[i], &size);
        assert_true(buffer_append(out, bytes, size));
    }
}

static void on_begin(void *user, const harmony_header *h)
{
    static const char *const kinds[] = {"final", "analysis", "call"};
    harmony_recording *r = user;
    assert_false(r->open);
    assert_non_null(h->role);
    assert_true((h->function != NULL) == (h->kind == HARMONY_TOOL_CALL));
    if (h->function) assert_string_equal(h->function, h->recipient + strlen("functions."));
    r->open = true;
    r->begins++;
    assert_true(buffer_printf(&r->text, "%s[role=%s", kinds[h->kind], h->role));
    const char *parts[3][2] = {{"channel", h->channel}, {"recipient", h->recipient}, {"type", h->content_type}};
    for (size_t i = 0; i < 3; i++) {
        if (!parts[i][1]) continue;
        assert_true(utf8_valid(parts[i][1], strlen(parts[i][1])));
        assert_true(buffer_printf(&r->text, " %s=%s", parts[i][0], parts[i][1]));
    }
    assert_true(buffer_append_text(&r->text, "] "));
}

static void on_delta(void *user, const char *text, size_t size)
{
    harmony_recording *r = user;
    assert_true(r->open);
    assert_true(size > 0);
    assert_true(utf8_valid(text, size));
    assert_true(buffer_append(&r->text, text, size));
    r->deltas++;
}

static void on_end(void *user)
{
    harmony_recording *r = user;
    assert_true(r->open);
    r->open = false;
    r->ends++;
    assert_true(buffer_append_text(&r->text, "\n"));
}

harmony_sink harmony_recording_sink(harmony_recording *r)
{
    return (harmony_sink){.user = r, .begin = on_begin, .delta = on_delta, .end = on_end};
}

void harmony_recording_free(harmony_recording *r) { buffer_free(&r->text); }

void harmony_fixture_parse(const harmony_fixture *f, bool after_assistant, const int32_t *ids, size_t count,
                           harmony_recording *r)
{
    harmony_parser_options options = {
        .after_assistant = after_assistant, .functions = harmony_fixture_functions, .n_functions = 3};
    harmony_parser *p;
    assert_int_equal(harmony_parser_open(f->h, &options, harmony_recording_sink(r), &p, NULL), STATUS_OK);
    for (size_t i = 0; i < count; i++) harmony_parser_push(p, ids[i]);
    harmony_parser_finish(p);
    harmony_parser_close(p);
    assert_false(r->open);
    assert_int_equal(r->begins, r->ends);
    if (!r->text.data) assert_true(buffer_append_text(&r->text, ""));
}
