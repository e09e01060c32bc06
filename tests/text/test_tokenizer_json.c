#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/tokenizer_write.h"
#include "tests/text/tokenizer_data.h"

/* ---- documents --------------------------------------------------------------------------------------------------- */

enum { FULL = 199998, REDUCED = 1000 };

static char written_path[] = "/tmp/tokenizer_json_XXXXXX";

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(written_path);
    if (fd >= 0) close(fd);
    return fd >= 0 ? 0 : -1;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(written_path);
}

/* Writes a document of the first n ranks with three special tokens, the last one after a gap of two. */
static void write_document(int32_t n)
{
    const tokenizer_write_special specials[] = {{"<|end|>", n + 4}, {"<|start|>", n}, {"a \"quoted\" \\ é", n + 1}};
    status_detail detail = {{0}};
    if (tokenizer_write_json(tokenizer_data_vocabulary(), n, specials, 3, written_path, &detail) != STATUS_OK)
        fail_msg("%s", detail.text);
}

static json_t *document(int32_t n)
{
    json_error_t error;
    write_document(n);
    json_t *root = json_load_file(written_path, 0, &error);
    if (!root) fail_msg("%s", error.text);
    return root;
}

static status parse(const json_t *root, tokenizer **out, status_detail *detail)
{
    char *text = json_dumps(root, JSON_COMPACT);
    status result = tokenizer_parse_json(text, strlen(text), out, detail);
    free(text);
    return result;
}

static tokenizer *parse_well(const json_t *root)
{
    tokenizer *t = NULL;
    status_detail detail = {{0}};
    if (parse(root, &t, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return t;
}

/* Sets, or with NULL deletes, what lies at a path such as "model/merges/0". Takes the reference to `value`. */
static void set_at(json_t *root, const char *path, json_t *value)
{
    char part[128];
    const char *slash = strchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : strlen(path);
    memcpy(part, path, size);
    part[size] = '\0';
    if (slash) {
        json_t *next = json_is_array(root) ? json_array_get(root, (size_t)atoi(part)) : json_object_get(root, part);
        assert_non_null(next);
        set_at(next, slash + 1, value);
    } else if (json_is_array(root)) {
        assert_int_equal(json_array_set_new(root, (size_t)atoi(part), value), 0);
    } else {
        assert_int_equal(value ? json_object_set_new(root, part, value) : json_object_del(root, part), 0);
    }
}

static json_t *at(json_t *root, const char *outer, const char *inner)
{
    return json_object_get(json_object_get(root, outer), inner);
}

/* ---- reading what is right --------------------------------------------------------------------------------------- */

typedef struct tally {
    const tokenizer *t;
    size_t column, checked, failed;
    const int32_t *renamed; /* NULL, or the id that stands for each expected one */
} tally;

static void check_case(const json_t *line, void *user)
{
    tally *count = user;
    const json_t *text = json_array_get(line, 0), *expected = json_array_get(line, count->column), *id;
    if (json_is_null(expected)) return;
    json_t *ids = json_array();
    size_t index;
    json_array_foreach(expected, index, id)
    {
        json_int_t value = json_integer_value(id);
        json_array_append_new(ids, json_integer(count->renamed ? count->renamed[value] : value));
    }
    count->failed += !tokenizer_data_agrees(count->t, json_string_value(text), json_string_length(text), ids);
    count->checked++;
    json_decref(ids);
}

static void check_reduced(const tokenizer *t, const int32_t *renamed)
{
    tally count = {.t = t, .column = 2, .renamed = renamed};
    tokenizer_data_cases(check_case, &count);
    assert_int_equal(count.checked, 1500);
    assert_int_equal(count.failed, 0);
}

static void full_file_encodes_as_tiktoken(void **state)
{
    (void)state;
    tokenizer *t = NULL;
    status_detail detail = {{0}};
    write_document(FULL);
    if (tokenizer_open(written_path, &t, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    tally count = {.t = t, .column = 1};
    tokenizer_data_cases(check_case, &count);
    assert_int_equal(count.checked, 20000);
    assert_int_equal(count.failed, 0);
    tokenizer_close(t);
}

static void reduced_file_encodes_as_tiktoken_over_its_ranks(void **state)
{
    (void)state;
    size_t size;
    json_t *root = document(REDUCED);
    tokenizer *t = parse_well(root);
    check_reduced(t, NULL);
    assert_int_equal(tokenizer_size(t), REDUCED + 5);
    assert_int_equal(tokenizer_special(t, "<|start|>"), REDUCED);
    assert_int_equal(tokenizer_special(t, "a \"quoted\" \\ é"), REDUCED + 1);
    assert_int_equal(tokenizer_special(t, "<|reserved_1002|>"), REDUCED + 2);
    assert_int_equal(tokenizer_special(t, "<|end|>"), REDUCED + 4);
    assert_int_equal(tokenizer_special(t, "<|return|>"), -1);
    assert_false(tokenizer_is_special(t, REDUCED - 1));
    tokenizer_close(t);

    /* Without the third added token its id is nobody's. */
    json_array_remove(json_object_get(root, "added_tokens"), 2);
    t = parse_well(root);
    assert_int_equal(tokenizer_size(t), REDUCED + 5);
    assert_null(tokenizer_bytes(t, REDUCED + 2, &size));
    assert_int_equal(size, 0);
    assert_false(tokenizer_is_special(t, REDUCED + 2));
    tokenizer_close(t);
    json_decref(root);
}

static void merges_may_be_strings(void **state)
{
    (void)state;
    json_t *root = document(REDUCED), *merges = at(root, "model", "merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *pair = json_array_get(merges, i);
        json_array_set_new(merges, i,
                           json_sprintf("%s %s", json_string_value(json_array_get(pair, 0)),
                                        json_string_value(json_array_get(pair, 1))));
    }
    tokenizer *t = parse_well(root);
    check_reduced(t, NULL);
    tokenizer_close(t);
    json_decref(root);
}

/* Ids shuffled, some far away: the order of the merges alone says what is merged first. Without ignore_merges too. */
static void ids_need_not_be_ranks(void **state)
{
    (void)state;
    json_t *root = document(REDUCED), *tokens = at(root, "model", "vocab"), *value;
    static int32_t renamed[REDUCED];
    const char *key;
    uint64_t seed = 9;
    for (int32_t i = 0; i < REDUCED; i++) {
        int32_t other = (int32_t)(tokenizer_data_random(&seed) % (uint32_t)(i + 1));
        renamed[i] = renamed[other];
        renamed[other] = i < 5 ? 100000 + i : i + 2000;
    }
    json_object_foreach(tokens, key, value) json_integer_set(value, renamed[json_integer_value(value)]);
    for (int ignore = 0; ignore < 2; ignore++) {
        set_at(root, "model/ignore_merges", json_boolean(ignore));
        tokenizer *t = parse_well(root);
        check_reduced(t, renamed);
        assert_int_equal(tokenizer_size(t), 100005);
        tokenizer_close(t);
    }
    json_decref(root);
}

static void expect_ids(const tokenizer *t, const char *text, const int32_t *ids, size_t n)
{
    id_list got = {0};
    assert_int_equal(tokenizer_encode(t, text, strlen(text), &got, NULL), STATUS_OK);
    assert_int_equal(got.count, n);
    assert_memory_equal(got.ids, ids, n * sizeof *ids);
    id_list_free(&got);
}

/* A vocabulary of the bytes, ab 600, bc 601, abc 602; a is 64, b 65, c 66. */
static tokenizer *three_tokens(const char *merges, bool ignore)
{
    json_t *root = document(256);
    set_at(root, "model/vocab/ab", json_integer(600));
    set_at(root, "model/vocab/bc", json_integer(601));
    set_at(root, "model/vocab/abc", json_integer(602));
    set_at(root, "model/merges", json_loads(merges, 0, NULL));
    set_at(root, "model/ignore_merges", json_boolean(ignore));
    tokenizer *t = parse_well(root);
    json_decref(root);
    return t;
}

static void merges_decide_and_not_ids(void **state)
{
    (void)state;
    tokenizer *t = three_tokens("[\"b c\", \"a b\"]", false);
    expect_ids(t, "abc", (const int32_t[]){64, 601}, 2);
    expect_ids(t, "abab", (const int32_t[]){600, 600}, 2);
    tokenizer_close(t);
    t = three_tokens("[[\"a\", \"b\"], [\"b\", \"c\"]]", false);
    expect_ids(t, "abc", (const int32_t[]){600, 66}, 2);
    tokenizer_close(t);
}

static void whole_pieces_need_merges_unless_ignored(void **state)
{
    (void)state;
    tokenizer *t = three_tokens("[\"b c\"]", false);
    expect_ids(t, "abc", (const int32_t[]){64, 601}, 2);
    expect_ids(t, "bc", (const int32_t[]){601}, 1);
    expect_ids(t, "ab", (const int32_t[]){64, 65}, 2);
    tokenizer_close(t);
    t = three_tokens("[]", true);
    expect_ids(t, "abc", (const int32_t[]){602}, 1);
    expect_ids(t, "ab ab", (const int32_t[]){600, 220, 64, 65}, 4);
    tokenizer_close(t);
}

static void vocabulary_may_repeat_added_tokens(void **state)
{
    (void)state;
    json_t *root = document(300);
    set_at(root, "model/vocab/<|start|>", json_integer(300));
    set_at(root, "model/vocab/a \"quoted\" \\ é", json_integer(301));
    tokenizer *t = parse_well(root);
    assert_int_equal(tokenizer_special(t, "<|start|>"), 300);
    assert_true(tokenizer_is_special(t, 301));
    tokenizer_close(t);
    json_decref(root);
}

/* ---- refusing what is wrong -------------------------------------------------------------------------------------- */

static const struct {
    const char *path, *value, *message; /* value NULL: deleted */
} wrong[] = {
    {"model", "7", "model.type is \"\""},
    {"model/type", "\"WordPiece\"", "model.type is \"WordPiece\""},
    {"model/vocab", "[]", "model.vocab is not an object"},
    {"model/merges", "{}", "model.merges not an array"},
    {"model/merges", NULL, "model.merges not an array"},
    {"model/dropout", "0.1", "model.dropout"},
    {"model/byte_fallback", "true", "model.byte_fallback"},
    {"model/end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix"},
    {"model/merges/0", "\"ab\"", "model.merges[0] is neither"},
    {"model/merges/1", "[\"a\"]", "model.merges[1] is neither"},
    {"model/merges/1", "[\"a\", 1]", "model.merges[1] is neither"},
    {"model/merges/2", "[\"a\", \"b\", \"c\"]", "model.merges[2] is neither"},
    {"model/merges/2", "[\"Q\", \"zzz\"]", "model.merges[2]: \"Q\" + \"zzz\""},
    {"model/merges/2", "[\"Q\", \"\"]", "model.merges[2]: \"Q\" + \"\""},
    {"model/merges/2", "\"Q \\u6f22\"", "is not in model.vocab"},
    {"model/vocab/!", "\"0\"", "outside"},
    {"model/vocab/!", "-1", "outside"},
    {"model/vocab/!", "0.0", "outside"},
    {"model/vocab/!", "2097152", "outside"},
    {"model/vocab/!", "9223372036854775807", "outside"},
    {"model/vocab/!", "1", "two tokens have the id 1"},
    {"model/vocab/!", "300", "two tokens have the id 300"},
    {"model/vocab/!", NULL, "single byte 0x21"},
    {"model/vocab/\xE6\xBC\xA2", "5000", "byte-level alphabet"},
    {"model/vocab/a b", "5000", "byte-level alphabet"},
    {"model/vocab/", "5000", "empty"},
    {"added_tokens", "{}", "added_tokens is not an array"},
    {"added_tokens/0", "3", "added_tokens[0]"},
    {"added_tokens/1/id", "300", "added_tokens[1]: two tokens have the id 300"},
    {"added_tokens/1/content", "null", "added_tokens[1]: token 301 is empty"},
    {"added_tokens/1/content", "\"<|start|>\"", "special tokens 300 and 301 have the same text"},
    {"normalizer", "{\"type\": \"NFC\"}", "normalizer"},
    {"pre_tokenizer", "null", "pre_tokenizer"},
    {"pre_tokenizer/type", "\"Split\"", "pre_tokenizer"},
    {"pre_tokenizer/pretokenizers/0/pattern/Regex", "\"\\\\p{N}\"", "pre_tokenizer"},
    {"pre_tokenizer/pretokenizers/0/behavior", "\"Removed\"", "pre_tokenizer"},
    {"pre_tokenizer/pretokenizers/0/invert", "true", "pre_tokenizer"},
    {"pre_tokenizer/pretokenizers/1/add_prefix_space", "true", "pre_tokenizer"},
    {"pre_tokenizer/pretokenizers/1/use_regex", "true", "pre_tokenizer"},
};

static void every_deviation_is_named(void **state)
{
    (void)state;
    json_t *good = document(300);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *root = json_deep_copy(good);
        tokenizer *t = NULL;
        status_detail detail = {{0}};
        set_at(root, wrong[i].path, wrong[i].value ? json_loads(wrong[i].value, JSON_DECODE_ANY, NULL) : NULL);
        if (parse(root, &t, &detail) != STATUS_MODEL) fail_msg("%s = %s is taken", wrong[i].path, wrong[i].value);
        assert_null(t);
        if (!strstr(detail.text, wrong[i].message))
            fail_msg("%s = %s: \"%s\" does not say \"%s\"", wrong[i].path, wrong[i].value, detail.text,
                     wrong[i].message);
        json_decref(root);
    }
    json_decref(good);
}

static void broken_text_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "null",
                                        "{}",
                                        "{\"model\": {\"type\": \"BPE\"}}",
                                        "{\"a\": 1, \"a\": 2}",
                                        "{\"a\": \"\xFF\"}",
                                        "{\"model\": NaN}",
                                        "\xEF\xBB\xBF{}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tokenizer *t = NULL;
        assert_int_equal(tokenizer_parse_json(texts[i], strlen(texts[i]), &t, NULL), STATUS_MODEL);
        assert_null(t);
    }
    buffer deep = {0};
    for (int i = 0; i < 100000; i++) buffer_append_text(&deep, "[");
    tokenizer *t = NULL;
    assert_int_equal(tokenizer_parse_json(deep.data, deep.size, &t, NULL), STATUS_MODEL);
    buffer_free(&deep);
}

static void cut_and_flipped_files_never_crash(void **state)
{
    (void)state;
    buffer text = {0};
    uint64_t seed = 21;
    write_document(300);
    assert_int_equal(tokenizer_file_read(written_path, &text, NULL), STATUS_OK);
    for (int round = 0; round < 1500; round++) {
        tokenizer *t = NULL;
        status_detail detail = {{0}};
        size_t size = text.size, where = tokenizer_data_random(&seed) % text.size;
        char kept = text.data[where];
        if (round % 3 == 0)
            size = where < text.size - 4 ? where : 0; /* the last brackets and line ends are not missed by less */
        else
            text.data[where] = round % 3 == 1 ? (char)(tokenizer_data_random(&seed) % 256)
                                              : "0[]{}\":,9"[tokenizer_data_random(&seed) % 9];
        status result = tokenizer_parse_json(text.data, size, &t, &detail);
        if (round % 3 == 0) assert_int_equal(result, STATUS_MODEL);
        if (result != STATUS_OK) assert_true(t == NULL && detail.text[0]);
        tokenizer_close(t);
        text.data[where] = kept;
    }
    buffer_free(&text);
}

/* ---- refusing to write ------------------------------------------------------------------------------------------- */

static void expect_no_file(int32_t n, const tokenizer_write_special *specials, size_t n_specials, const char *path,
                           status expected)
{
    status_detail detail = {{0}};
    assert_int_equal(tokenizer_write_json(tokenizer_data_vocabulary(), n, specials, n_specials, path, &detail),
                     expected);
    assert_true(detail.text[0]);
}

static void impossible_vocabularies_are_not_written(void **state)
{
    (void)state;
    const tokenizer_write_special low = {"<|a|>", 299}, pair[] = {{"<|a|>", 300}, {"<|b|>", 300}},
                                  twins[] = {{"<|a|>", 300}, {"<|a|>", 301}}, empty = {"", 300},
                                  reserved[] = {{"<|reserved_301|>", 300}, {"<|b|>", 302}};
    expect_no_file(255, NULL, 0, written_path, STATUS_USAGE);
    expect_no_file(-1, NULL, 0, written_path, STATUS_USAGE);
    expect_no_file(FULL + 1, NULL, 0, written_path, STATUS_USAGE);
    expect_no_file(300, &low, 1, written_path, STATUS_USAGE);
    expect_no_file(300, pair, 2, written_path, STATUS_USAGE);
    expect_no_file(300, twins, 2, written_path, STATUS_USAGE);
    expect_no_file(300, &empty, 1, written_path, STATUS_USAGE);
    expect_no_file(300, reserved, 2, written_path, STATUS_USAGE);
    expect_no_file(300, NULL, 0, "/nonexistent/tokenizer.json", STATUS_MACHINE);
    assert_int_equal(tokenizer_write_json("/nonexistent.tiktoken", 300, NULL, 0, written_path, NULL), STATUS_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_file_encodes_as_tiktoken),
        cmocka_unit_test(reduced_file_encodes_as_tiktoken_over_its_ranks),
        cmocka_unit_test(merges_may_be_strings),
        cmocka_unit_test(ids_need_not_be_ranks),
        cmocka_unit_test(merges_decide_and_not_ids),
        cmocka_unit_test(whole_pieces_need_merges_unless_ignored),
        cmocka_unit_test(vocabulary_may_repeat_added_tokens),
        cmocka_unit_test(every_deviation_is_named),
        cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(cut_and_flipped_files_never_crash),
        cmocka_unit_test(impossible_vocabularies_are_not_written),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
