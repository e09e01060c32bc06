#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/tokenizer_write.h"
#include "tests/text/tokenizer_data.h"

static int open_vocabulary(void **state)
{
    *state = tokenizer_data_open();
    return 0;
}

static int close_vocabulary(void **state)
{
    tokenizer_close(*state);
    return 0;
}

/* ---- special tokens ---------------------------------------------------------------------------------------------- */

static void special_tokens_are_o200k_harmony(void **state)
{
    static const struct {
        const char *text;
        int32_t id;
    } known[] = {
        {"<|startoftext|>", 199998},
        {"<|endoftext|>", 199999},
        {"<|reserved_200000|>", 200000},
        {"<|reserved_200001|>", 200001},
        {"<|return|>", 200002},
        {"<|constrain|>", 200003},
        {"<|reserved_200004|>", 200004},
        {"<|channel|>", 200005},
        {"<|start|>", 200006},
        {"<|end|>", 200007},
        {"<|message|>", 200008},
        {"<|reserved_200009|>", 200009},
        {"<|call|>", 200012},
        {"<|reserved_200013|>", 200013},
        {"<|endofprompt|>", 200018},
        {"<|reserved_201087|>", 201087},
        {"<|reserved_200018|>", -1},
        {"<|reserved_201088|>", -1},
        {"<|start|", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t size;
        assert_int_equal(tokenizer_special(*state, known[i].text), known[i].id);
        if (known[i].id < 0) continue;
        assert_true(tokenizer_is_special(*state, known[i].id));
        const char *bytes = tokenizer_bytes(*state, known[i].id, &size);
        assert_int_equal(size, strlen(known[i].text));
        assert_memory_equal(bytes, known[i].text, size);
    }
    assert_int_equal(tokenizer_size(*state), 201088);
    for (int32_t id = -1; id <= 201088; id++)
        assert_int_equal(tokenizer_is_special(*state, id), id >= 199998 && id < 201088);
}

static void ids_outside_have_no_bytes(void **state)
{
    const int32_t ids[] = {-1, INT32_MIN, 201088, INT32_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size_t size = 9;
        assert_null(tokenizer_bytes(*state, ids[i], &size));
        assert_int_equal(size, 0);
    }
}

static void text_never_becomes_special(void **state)
{
    for (int32_t id = 199998; id < 201088; id++) {
        id_list ids = {0};
        size_t size;
        const char *text = tokenizer_bytes(*state, id, &size);
        assert_int_equal(tokenizer_encode(*state, text, size, &ids, NULL), STATUS_OK);
        assert_true(ids.count > 1);
        for (size_t i = 0; i < ids.count; i++) assert_false(tokenizer_is_special(*state, ids.ids[i]));
        id_list_free(&ids);
    }
}

/* ---- known answers ----------------------------------------------------------------------------------------------- */

static void given_vectors_encode_alike(void **state)
{
    json_t *root = tokenizer_data_json("data/tokenizer/test_vectors.json"), *vector;
    size_t index, failed = 0;
    json_array_foreach(json_object_get(root, "ordinary"), index, vector)
    {
        const json_t *text = json_object_get(vector, "text");
        failed += !tokenizer_data_agrees(*state, json_string_value(text), json_string_length(text),
                                         json_object_get(vector, "ids"));
    }
    assert_true(index > 50);
    assert_int_equal(failed, 0);
    json_decref(root);
}

static void append_bytes(const tokenizer *t, int32_t id, buffer *out)
{
    size_t size;
    const char *bytes = tokenizer_bytes(t, id, &size);
    assert_non_null(bytes);
    assert_true(buffer_append(out, bytes, size));
}

static void given_ids_decode_alike(void **state)
{
    json_t *root = tokenizer_data_json("data/tokenizer/test_vectors.json"), *vector, *id;
    size_t index, at;
    json_array_foreach(json_object_get(root, "decode_bytes_hex"), index, vector)
    {
        buffer bytes = {0}, hex = {0};
        append_bytes(*state, (int32_t)json_integer_value(json_object_get(vector, "id")), &bytes);
        for (size_t i = 0; i < bytes.size; i++) buffer_printf(&hex, "%02x", (unsigned char)bytes.data[i]);
        assert_string_equal(hex.data, json_string_value(json_object_get(vector, "hex")));
        buffer_free(&bytes);
        buffer_free(&hex);
    }
    json_array_foreach(json_object_get(root, "with_special"), index, vector)
    {
        buffer text = {0};
        json_array_foreach(json_object_get(vector, "ids"), at, id)
            append_bytes(*state, (int32_t)json_integer_value(id), &text);
        assert_string_equal(text.data, json_string_value(json_object_get(vector, "text")));
        buffer_free(&text);
    }
    json_decref(root);
}

typedef struct tally {
    const tokenizer *t;
    size_t failed;
} tally;

static void check_case(const json_t *line, void *user)
{
    tally *count = user;
    const json_t *text = json_array_get(line, 0), *ids = json_array_get(line, 1), *id;
    size_t index;
    count->failed += !tokenizer_data_agrees(count->t, json_string_value(text), json_string_length(text), ids);
    buffer back = {0};
    json_array_foreach(ids, index, id) append_bytes(count->t, (int32_t)json_integer_value(id), &back);
    assert_int_equal(back.size, json_string_length(text));
    assert_memory_equal(back.data, json_string_value(text), back.size);
    buffer_free(&back);
}

static void generated_strings_encode_as_tiktoken(void **state)
{
    tally count = {.t = *state};
    assert_int_equal(tokenizer_data_cases(check_case, &count), 20000);
    assert_int_equal(count.failed, 0);
}

/* ---- long pieces ------------------------------------------------------------------------------------------------- */

/* The definition, word for word: the lowest rank among all neighbours, the leftmost of equals. Here rank and id are the
 * same. */
static void merge_naively(const tokenizer *t, const char *piece, size_t size, id_list *out)
{
    size_t cuts[512], n = size;
    for (size_t i = 0; i <= n; i++) cuts[i] = i;
    for (;;) {
        size_t best = n;
        int32_t lowest = INT32_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t rank = vocab_find(&t->vocab, piece + cuts[i], cuts[i + 2] - cuts[i]);
            if (rank < 0 || rank >= lowest) continue;
            lowest = rank;
            best = i;
        }
        if (best == n) break;
        memmove(cuts + best + 1, cuts + best + 2, (n - best - 1) * sizeof *cuts);
        n--;
    }
    for (size_t i = 0; i < n; i++) id_list_push(out, vocab_find(&t->vocab, piece + cuts[i], cuts[i + 1] - cuts[i]));
}

static void merging_equals_its_definition_at_any_length(void **state)
{
    const tokenizer *t = *state;
    uint64_t seed = 5;
    for (int round = 0; round < 1500; round++) {
        char piece[500];
        size_t size = 2 + tokenizer_data_random(&seed) % (round % 3 ? 60 : sizeof piece - 2);
        uint32_t letters = 1 + tokenizer_data_random(&seed) % 26;
        for (size_t i = 0; i < size; i++)
            piece[i] =
                (char)(round % 5 ? 'a' + tokenizer_data_random(&seed) % letters : tokenizer_data_random(&seed) % 256);
        id_list got = {0}, expected = {0};
        merge_naively(t, piece, size, &expected);
        assert_true(bpe_encode(&t->bpe, piece, size, &got));
        assert_int_equal(got.count, expected.count);
        assert_memory_equal(got.ids, expected.ids, got.count * sizeof *got.ids);
        id_list_free(&got);
        id_list_free(&expected);
    }
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void megabytes_of_one_kind_take_under_a_second(void **state)
{
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
    const double allowed = 1.0;
#else
    const double allowed = 20.0;
#endif
    static const char *const kinds[] = {
        "x", "X", " ", "\n", "=", "7", "\xE6\xBC\xA2", "\xC3\x89", "\xCC\x81", "\xE3\x80\x80", "ab", "x\xC3\x89"};
    for (size_t kind = 0; kind <= sizeof kinds / sizeof *kinds; kind++) {
        buffer text = {0}, back = {0};
        id_list ids = {0};
        uint64_t seed = 1;
        while (text.size < 1000000) {
            char letter[2] = {(char)('a' + tokenizer_data_random(&seed) % 26), 0};
            assert_true(buffer_append_text(&text, kind < sizeof kinds / sizeof *kinds ? kinds[kind] : letter));
        }
        double began = cpu_seconds();
        assert_int_equal(tokenizer_encode(*state, text.data, text.size, &ids, NULL), STATUS_OK);
        double took = cpu_seconds() - began;
        if (took > allowed) fail_msg("kind %zu took %.2f s", kind, took);
        for (size_t i = 0; i < ids.count; i++) append_bytes(*state, ids.ids[i], &back);
        assert_int_equal(back.size, text.size);
        assert_memory_equal(back.data, text.data, text.size);
        id_list_free(&ids);
        buffer_free(&text);
        buffer_free(&back);
    }
}

/* ---- the contract ------------------------------------------------------------------------------------------------ */

static void invalid_utf8_is_refused_and_output_kept(void **state)
{
    id_list ids = {0};
    status_detail detail = {{0}};
    assert_int_equal(tokenizer_encode(*state, "", 0, &ids, &detail), STATUS_OK);
    assert_int_equal(ids.count, 0);
    assert_true(id_list_push(&ids, 42));
    assert_int_equal(tokenizer_encode(*state, "good \xFF", 6, &ids, &detail), STATUS_INVALID);
    assert_int_equal(ids.count, 1);
    assert_int_equal(tokenizer_encode(*state, "a\0b", 3, &ids, &detail), STATUS_OK);
    const int32_t expected[] = {42, 64, 188, 65};
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.ids, expected, sizeof expected);
    id_list_free(&ids);
}

typedef struct worker {
    const tokenizer *t;
    const id_list *expected;
    int differing;
} worker;

static const char shared_text[] = "Grüße, 世界! don't HTTPServer 12345 ünïcödé\u3000\u00a0 x";

static void *encode_many(void *argument)
{
    worker *w = argument;
    for (int round = 0; round < 300; round++) {
        id_list ids = {0};
        status result = tokenizer_encode(w->t, shared_text, sizeof shared_text - 1, &ids, NULL);
        w->differing += result != STATUS_OK || ids.count != w->expected->count ||
                        memcmp(ids.ids, w->expected->ids, ids.count * sizeof *ids.ids) != 0;
        id_list_free(&ids);
    }
    return NULL;
}

static void threads_share_one_handle(void **state)
{
    enum { WORKERS = 4 };
    pthread_t threads[WORKERS];
    worker workers[WORKERS];
    id_list expected = {0};
    assert_int_equal(tokenizer_encode(*state, shared_text, sizeof shared_text - 1, &expected, NULL), STATUS_OK);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){*state, &expected, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_many, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].differing, 0);
    }
    id_list_free(&expected);
}

static void copy_part(const char *to, size_t limit)
{
    buffer content = {0};
    FILE *out = fopen(to, "wb");
    assert_int_equal(tokenizer_file_read(tokenizer_data_vocabulary(), &content, NULL), STATUS_OK);
    assert_non_null(out);
    size_t size = limit < content.size ? limit : content.size;
    assert_int_equal(fwrite(content.data, 1, size, out), size);
    fclose(out);
    buffer_free(&content);
}

static void expect_failure(const char *path, const char *message)
{
    tokenizer *t = NULL;
    status_detail detail = {{0}};
    assert_int_equal(tokenizer_open(path, &t, &detail), STATUS_MODEL);
    assert_null(t);
    if (!strstr(detail.text, message)) fail_msg("\"%s\" does not say \"%s\"", detail.text, message);
}

static void paths_are_files_or_directories(void **state)
{
    (void)state;
    char directory[] = "/tmp/tokenizer_test_XXXXXX", first[64], second[64], json[64];
    assert_non_null(mkdtemp(directory));
    snprintf(first, sizeof first, "%s/a.tiktoken", directory);
    snprintf(second, sizeof second, "%s/b.tiktoken", directory);
    snprintf(json, sizeof json, "%s/tokenizer.json", directory);
    expect_failure("/nonexistent/tokenizer.json", "/nonexistent/tokenizer.json: no tokenizer there");
    expect_failure(directory, "neither tokenizer.json nor");
    expect_failure("/dev/null", "not a regular file");

    tokenizer *t = NULL;
    copy_part(first, SIZE_MAX);
    assert_int_equal(tokenizer_open(directory, &t, NULL), STATUS_OK);
    assert_int_equal(tokenizer_size(t), 201088);
    tokenizer_close(t);
    copy_part(second, 1863680); /* cut inside a line */
    expect_failure(second, "line ");
    expect_failure(directory, "(2 found)");
    copy_part(second, 0);
    expect_failure(second, "whole .tiktoken");
    copy_part(second, 14); /* two whole lines */
    expect_failure(second, "2 ranks, o200k has 199998");

    assert_int_equal(tokenizer_write_json(first, 300, NULL, 0, json, NULL), STATUS_OK);
    assert_int_equal(tokenizer_open(directory, &t, NULL), STATUS_OK);
    assert_int_equal(tokenizer_size(t), 300);
    tokenizer_close(t);
    unlink(first);
    unlink(second);
    unlink(json);
    rmdir(directory);
    tokenizer_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_tokens_are_o200k_harmony),
        cmocka_unit_test(ids_outside_have_no_bytes),
        cmocka_unit_test(text_never_becomes_special),
        cmocka_unit_test(given_vectors_encode_alike),
        cmocka_unit_test(given_ids_decode_alike),
        cmocka_unit_test(generated_strings_encode_as_tiktoken),
        cmocka_unit_test(merging_equals_its_definition_at_any_length),
        cmocka_unit_test(megabytes_of_one_kind_take_under_a_second),
        cmocka_unit_test(invalid_utf8_is_refused_and_output_kept),
        cmocka_unit_test(threads_share_one_handle),
        cmocka_unit_test(paths_are_files_or_directories),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
