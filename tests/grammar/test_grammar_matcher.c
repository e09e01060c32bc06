#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/grammar/grammar_fixture.h"

static bool has(const uint32_t *bits, int32_t id) { return bits[id >> 5] >> (id & 31) & 1; }

static int32_t token_of(const char *text)
{
    id_list ids = {0};
    assert_int_equal(tokenizer_encode(grammar_fixture_tokenizer(), text, strlen(text), &ids, NULL), STATUS_OK);
    assert_int_equal(ids.count, 1);
    int32_t id = ids.ids[0];
    id_list_free(&ids);
    return id;
}

static uint32_t *new_mask(void)
{
    uint32_t *bits = malloc(grammar_vocab_words(grammar_fixture_vocab()) * sizeof *bits);
    memset(bits, 0xA5, grammar_vocab_words(grammar_fixture_vocab()) * sizeof *bits);
    return bits;
}

static void vocabulary_has_all_ids(void **state)
{
    (void)state;
    assert_int_equal(grammar_vocab_size(grammar_fixture_vocab()), 201088);
    assert_int_equal(grammar_vocab_words(grammar_fixture_vocab()), 6284);
}

/* A vocabulary without some byte could get stuck. */
static void vocabulary_needs_every_byte(void **state)
{
    (void)state;
    static const char json[] = "{\"added_tokens\": [], \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                               "\"add_prefix_space\": false, \"use_regex\": true},"
                               "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}";
    tokenizer *t = NULL;
    grammar_vocab *v = NULL;
    status_detail detail = {{0}};
    if (tokenizer_parse_json(json, sizeof json - 1, &t, &detail) != STATUS_OK) return; /* refused even sooner */
    assert_int_equal(grammar_vocab_open(t, &v, &detail), STATUS_MODEL);
    assert_null(v);
    tokenizer_close(t);
}

static void special_tokens_never(void **state)
{
    (void)state;
    const tokenizer *t = grammar_fixture_tokenizer();
    grammar *g = grammar_fixture_regex("(.|\\n|\\r|[\\u2028\\u2029])*"); /* anything at all, "<|end|>" as text too */
    grammar_matcher *m;
    uint32_t *bits = new_mask();
    assert_int_equal(grammar_matcher_open(g, &m, NULL), STATUS_OK);
    assert_int_equal(grammar_matcher_mask(m, bits, NULL), STATUS_OK);
    size_t n = 0;
    for (int32_t id = 0; id < grammar_vocab_size(grammar_fixture_vocab()); id++) {
        n += has(bits, id);
        if (tokenizer_is_special(t, id)) assert_false(has(bits, id));
    }
    assert_in_range(n, 199000, 199998); /* all but those that are no part of valid UTF-8 */
    const int32_t never[] = {-1, INT32_MIN, INT32_MAX, 201088, 200002, 199999};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) assert_false(grammar_matcher_accept(m, never[i]));
    assert_true(grammar_matcher_is_done(m));
    assert_true(grammar_matcher_may_continue(m));
    assert_true(grammar_matcher_accept(m, token_of(" hello")));
    grammar_matcher_close(m);
    grammar_release(g);
    free(bits);
}

static void choice_is_one_of(void **state)
{
    (void)state;
    const char *const texts[] = {"yes", "no", "not sure", "\xE6\x97\xA5"};
    const size_t sizes[] = {3, 2, 8, 3};
    grammar *g = NULL;
    status_detail detail = {{0}};
    assert_int_equal(grammar_from_choice(grammar_fixture_vocab(), texts, sizes, 4, &g, &detail), STATUS_OK);
    grammar_fixture_all(g, (const char *const[]){"yes", "no", "not sure", "\xE6\x97\xA5", NULL}, true);
    grammar_fixture_all(g, (const char *const[]){"", "not", "yesno", "maybe", NULL}, false);
    grammar_fixture_mask_is_exact(g, "");
    grammar_fixture_mask_is_exact(g, "no");

    grammar_matcher *m;
    uint32_t *bits = new_mask();
    assert_int_equal(grammar_matcher_open(g, &m, NULL), STATUS_OK);
    assert_false(grammar_matcher_is_done(m));
    assert_false(grammar_matcher_accept(m, token_of("maybe")));
    assert_true(grammar_matcher_accept(m, token_of("no")));
    assert_true(grammar_matcher_is_done(m) && grammar_matcher_may_continue(m));
    assert_true(grammar_matcher_accept(m, token_of("t")));
    assert_false(grammar_matcher_is_done(m));
    assert_true(grammar_matcher_accept(m, token_of(" sure")));
    assert_true(grammar_matcher_is_done(m) && !grammar_matcher_may_continue(m));
    assert_int_equal(grammar_matcher_mask(m, bits, NULL), STATUS_OK);
    for (size_t w = 0; w < grammar_vocab_words(grammar_fixture_vocab()); w++) assert_int_equal(bits[w], 0);
    grammar_matcher_close(m);
    grammar_release(g);
    free(bits);
    assert_int_equal(grammar_from_choice(grammar_fixture_vocab(), texts, sizes, 0, &g, &detail), STATUS_INVALID);
}

/* A grammar lives as long as its last matcher; options are honoured. */
static void references_and_options(void **state)
{
    (void)state;
    grammar *g = NULL;
    grammar_matcher *m;
    assert_int_equal(grammar_from_json_object(grammar_fixture_vocab(), NULL, &g, NULL), STATUS_OK);
    grammar_fixture_all(g,
                        (const char *const[]){"{}",
                                              "{\"a\": [1, 2.5e3, null], \"b\":{\"c\":\"\\u00e9\\ud83c\\udf89\"}}",
                                              "{\n  \"a\": true\n}", NULL},
                        true);
    grammar_fixture_all(g,
                        (const char *const[]){"[]", "1", "", " {}", "{} ", "{\"a\":01}", "{\"a\":\"\\ud83c\"}",
                                              "{\"a\" :1}", "{\"a\":\"\t\"}", "{\"a\":1,}", NULL},
                        false);
    assert_int_equal(grammar_matcher_open(g, &m, NULL), STATUS_OK);
    assert_ptr_equal(grammar_retain(g), g);
    grammar_release(g);
    grammar_release(g);
    assert_true(grammar_matcher_accept(m, token_of("{\"")));
    grammar_matcher_close(m);

    assert_int_equal(grammar_from_json_object(grammar_fixture_vocab(), &(grammar_options){.compact = true}, &g, NULL),
                     STATUS_OK);
    assert_true(grammar_fixture_accepts(g, "{\"a\":[1,2]}"));
    assert_false(grammar_fixture_accepts(g, "{\"a\": [1,2]}"));
    grammar_release(g);
    grammar_release(NULL);
    grammar_matcher_close(NULL);
}

/* Enough distinct states that what is remembered has to be thrown away several times, under matchers that stand in the
 * middle. */
static void forgetting_keeps_matchers(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_schema(
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":60000},\"maxItems\":50000}");
    grammar_matcher *all[3];
    uint32_t *bits = new_mask();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grammar_matcher_open(g, &all[i], NULL), STATUS_OK);
        assert_true(grammar_matcher_accept(all[i], token_of("[\"")));
    }
    int32_t word = token_of(" hello"), next = token_of("\",\"");
    for (int i = 0; i < 20000; i++) {
        grammar_matcher *m = all[i % 2];
        if (i % 7 == 0) {
            assert_int_equal(grammar_matcher_mask(m, bits, NULL), STATUS_OK);
            assert_true(has(bits, word) && has(bits, next));
        }
        assert_true(grammar_matcher_accept(m, i % 100 == 99 ? next : word));
    }
    for (int i = 0; i < 3; i++) {
        assert_true(grammar_matcher_accept(all[i], token_of("\"")));
        assert_false(grammar_matcher_accept(all[i], word));
        assert_true(grammar_matcher_accept(all[i], token_of("]")));
        assert_true(grammar_matcher_is_done(all[i]));
        grammar_matcher_close(all[i]);
    }
    grammar_release(g);
    free(bits);
}

static void *walk_thread(void *argument)
{
    grammar *g = argument;
    grammar_matcher *m;
    uint32_t *bits = malloc(grammar_vocab_words(grammar_fixture_vocab()) * sizeof *bits);
    uintptr_t wrong = grammar_matcher_open(g, &m, NULL) != STATUS_OK;
    for (int i = 0; i < 300 && !wrong; i++) {
        wrong |= grammar_matcher_mask(m, bits, NULL) != STATUS_OK;
        int32_t id = -1;
        for (int32_t k = 0; id < 0 && k < 201088; k++) {
            int32_t candidate = (k + i * 977) % 201088;
            if (has(bits, candidate)) id = candidate;
        }
        if (id < 0) break;
        wrong |= !grammar_matcher_accept(m, id);
    }
    grammar_matcher_close(m);
    free(bits);
    return (void *)wrong;
}

static void threads_share_a_grammar(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_schema(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":300},\"b\":{}}}");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, walk_thread, g), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    grammar_release(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vocabulary_has_all_ids),  cmocka_unit_test(vocabulary_needs_every_byte),
        cmocka_unit_test(special_tokens_never),    cmocka_unit_test(choice_is_one_of),
        cmocka_unit_test(references_and_options),  cmocka_unit_test(forgetting_keeps_matchers),
        cmocka_unit_test(threads_share_a_grammar),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
