/* Lines of a batch: read, written, and read again. */
#include <jansson.h>
#include <string.h>

#include "launch/batch_line.h"
#include "tests/unit/cmocka_headers.h"

static status read_line(const char *text, batch_request *out, batch_fault *fault)
{
    char line[1024];
    size_t size = strlen(text);
    memcpy(line, text, size);
    return batch_line_read(line, size, out, fault);
}

static void requests(void **state)
{
    (void)state;
    batch_request r = {0};
    batch_fault fault;
    assert_int_equal(read_line("{\"custom_id\":\"a\\u0000\\\"\xc3\xa9\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"seed\":"
                               "9007199254740993,\"t\":0.1,\"stream\":false}}", &r, &fault), STATUS_OK);
    assert_int_equal(r.custom_id.size, 5);
    assert_memory_equal(r.custom_id.data, "a\0\"\xc3\xa9", 5);
    assert_string_equal(r.url, "/v1/completions");
    json_t *body = json_loadb(r.body.data, r.body.size, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(body, "seed")), 9007199254740993);
    assert_true(json_real_value(json_object_get(body, "t")) == 0.1);
    json_decref(body);
    batch_request_free(&r);
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *line, *code;
        bool named;
    } cases[] = {
        {"nonsense", "invalid_json", false},
        {"[]", "invalid_json", false},
        {"{\"custom_id\":\"a\"", "invalid_json", false},
        {"{}", "missing_custom_id", false},
        {"{\"custom_id\":null}", "missing_custom_id", false},
        {"{\"custom_id\":\"a\"}", "invalid_method", true},
        {"{\"custom_id\":\"a\",\"method\":\"post\"}", "invalid_method", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\"}", "invalid_url", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions/\"}", "invalid_url", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\"}", "invalid_body", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":[]}", "invalid_body", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"stream\":true}}", "stream_not_allowed", true},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"stream\":1}}", "stream_not_allowed", true},
    };
    batch_request r = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        batch_fault fault = {0};
        assert_int_equal(read_line(cases[i].line, &r, &fault), STATUS_INVALID);
        assert_string_equal(fault.code, cases[i].code);
        assert_true(strlen(fault.message) > 10);
        assert_int_equal(r.custom_id.data != NULL, cases[i].named);
    }
    batch_request_free(&r);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    const char nul_name[] = "x\0\"\n\xc3\xa9", body[] = "{\n\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";
    buffer name = {0}, none = {0};
    batch_fault fault;
    batch_record record = {0};
    json_writer w = {0};
    assert_true(buffer_append(&name, nul_name, sizeof nul_name - 1));
    batch_answer answer = batch_answer_read(200, body, sizeof body - 1, &fault);
    assert_true(answer.good && answer.prompt_tokens == 3 && answer.completion_tokens == 4);

    batch_line_write_answer(&w, "7", &name, 200, body, sizeof body - 1);
    assert_ptr_equal(strchr(w.text.data, '\n'), w.text.data + w.text.size - 1);
    assert_memory_equal(w.text.data, BATCH_LINE_START, strlen(BATCH_LINE_START));
    assert_true(batch_record_read(w.text.data, w.text.size, &record) && !record.by_number);
    assert_int_equal(record.custom_id.size, name.size);
    assert_memory_equal(record.custom_id.data, name.data, name.size);

    batch_fault_set(&fault, "some", "why \"not\"");
    json_write_clear(&w);
    batch_line_write_error(&w, "7", &name, 12, 0, NULL, 0, &fault);
    assert_true(batch_record_read(w.text.data, w.text.size, &record) && !record.by_number);
    json_write_clear(&w);
    batch_line_write_error(&w, "7", &none, 12, 0, NULL, 0, &fault);
    assert_true(batch_record_read(w.text.data, w.text.size, &record) && record.by_number && record.line == 12);
    batch_fault_set(&fault, BATCH_LINE_DUPLICATE, "again");
    json_write_clear(&w);
    batch_line_write_error(&w, "7", &name, 13, 0, NULL, 0, &fault);
    assert_true(batch_record_read(w.text.data, w.text.size, &record) && record.by_number && record.line == 13);
    assert_false(batch_record_read("{\"custom_id\":\"a\",\"method\":\"POST\"}", 34, &record));
    assert_false(batch_record_read(w.text.data, w.text.size / 2, &record));
    buffer_free(&record.custom_id);
    buffer_free(&name);
    json_write_free(&w);
}

static void errors_of_the_server(void **state)
{
    (void)state;
    batch_fault fault;
    const char body[] = "{\"error\":{\"message\":\"too long\",\"type\":\"BadRequestError\",\"code\":400}}";
    assert_true(batch_answer_read(400, body, sizeof body - 1, &fault).good);
    assert_string_equal(fault.code, "BadRequestError");
    assert_string_equal(fault.message, "too long");
    assert_false(batch_answer_read(502, "<html>", 6, &fault).good);
    assert_string_equal(fault.code, "http_error");
    assert_non_null(strstr(fault.message, "502"));
}

static void errors_paths(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"out.jsonl", "out.errors.jsonl"}, {"out", "out.errors"}, {"a.b/out", "a.b/out.errors"},
                                           {"a/.out", "a/.out.errors"}, {"a.b.c", "a.b.errors.c"}};
    buffer path = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(batch_line_errors_path(cases[i][0], &path));
        assert_string_equal(path.data, cases[i][1]);
    }
    buffer_free(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),     cmocka_unit_test(faults), cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(errors_of_the_server),
        cmocka_unit_test(errors_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
