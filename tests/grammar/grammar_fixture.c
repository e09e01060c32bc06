#include "tests/grammar/grammar_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/utf8.h"

static tokenizer *the_tokenizer;
static grammar_vocab *the_vocab;
static int32_t token_of_byte[256];

const tokenizer *grammar_fixture_tokenizer(void)
{
    if (the_tokenizer) return the_tokenizer;
    char path[4096];
    status_detail detail = {{0}};
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    if (!tests) fail_msg("set GPTOSS_TESTS_DIR to the tests folder");
    snprintf(path, sizeof path, "%s/../runtime/text/data/o200k_base.tiktoken", tests);
    if (tokenizer_open(path, &the_tokenizer, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    for (int32_t id = 0; id < tokenizer_size(the_tokenizer); id++) {
        size_t size;
        const char *bytes = tokenizer_bytes(the_tokenizer, id, &size);
        if (size == 1) token_of_byte[(unsigned char)bytes[0]] = id;
    }
    return the_tokenizer;
}

const grammar_vocab *grammar_fixture_vocab(void)
{
    status_detail detail = {{0}};
    if (!the_vocab && grammar_vocab_open(grammar_fixture_tokenizer(), &the_vocab, &detail) != STATUS_OK)
        fail_msg("%s", detail.text);
    return the_vocab;
}

int grammar_fixture_close(void **state)
{
    (void)state;
    grammar_vocab_close(the_vocab);
    tokenizer_close(the_tokenizer);
    the_vocab = NULL;
    the_tokenizer = NULL;
    return 0;
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

status grammar_fixture_from_regex(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail)
{
    return grammar_from_regex(v, text, strlen(text), out, detail);
}

status grammar_fixture_from_ebnf(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail)
{
    return grammar_from_ebnf(v, text, strlen(text), out, detail);
}

status grammar_fixture_from_schema(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail)
{
    json_error_t error;
    json_t *schema = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!schema) fail_msg("%s: %s", text, error.text);
    status code = grammar_from_schema(v, schema, NULL, out, detail);
    json_decref(schema);
    return code;
}

static grammar *compile(grammar_fixture_front *front, const char *text)
{
    grammar *g = NULL;
    status_detail detail = {{0}};
    if (front(grammar_fixture_vocab(), text, &g, &detail) != STATUS_OK) fail_msg("%s: %s", text, detail.text);
    return g;
}

grammar *grammar_fixture_regex(const char *text) { return compile(grammar_fixture_from_regex, text); }
grammar *grammar_fixture_ebnf(const char *text) { return compile(grammar_fixture_from_ebnf, text); }
grammar *grammar_fixture_schema(const char *text) { return compile(grammar_fixture_from_schema, text); }

void grammar_fixture_refused(grammar_fixture_front *front, const char *text, const char *words)
{
    grammar *g = NULL;
    status_detail detail = {{0}};
    status code = front(grammar_fixture_vocab(), text, &g, &detail);
    if (code != STATUS_INVALID) fail_msg("%s: not refused", text);
    assert_null(g);
    if (!strstr(detail.text, words)) fail_msg("%s: '%s' does not say '%s'", text, detail.text, words);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static grammar_matcher *open_matcher(grammar *g)
{
    grammar_matcher *m = NULL;
    assert_int_equal(grammar_matcher_open(g, &m, NULL), STATUS_OK);
    return m;
}

/* A matcher behind `text`, or NULL. */
static grammar_matcher *after_bytes(grammar *g, const char *text, size_t size)
{
    grammar_fixture_tokenizer();
    grammar_matcher *m = open_matcher(g);
    for (size_t i = 0; i < size; i++) {
        assert_true(grammar_matcher_is_done(m) || grammar_matcher_may_continue(m));
        if (grammar_matcher_accept(m, token_of_byte[(unsigned char)text[i]])) continue;
        grammar_matcher_close(m);
        return NULL;
    }
    return m;
}

static bool accepts_tokens(grammar *g, const char *text)
{
    id_list ids = {0};
    assert_int_equal(tokenizer_encode(grammar_fixture_tokenizer(), text, strlen(text), &ids, NULL), STATUS_OK);
    grammar_matcher *m = open_matcher(g);
    bool accepted = true;
    for (size_t i = 0; i < ids.count && accepted; i++) accepted = grammar_matcher_accept(m, ids.ids[i]);
    accepted = accepted && grammar_matcher_is_done(m);
    grammar_matcher_close(m);
    id_list_free(&ids);
    return accepted;
}

bool grammar_fixture_accepts(grammar *g, const char *text)
{
    grammar_matcher *m = after_bytes(g, text, strlen(text));
    bool accepted = m && grammar_matcher_is_done(m);
    grammar_matcher_close(m);
    if (utf8_valid(text, strlen(text))) assert_int_equal(accepts_tokens(g, text), accepted);
    return accepted;
}

bool grammar_fixture_is_prefix(grammar *g, const char *text)
{
    grammar_matcher *m = after_bytes(g, text, strlen(text));
    grammar_matcher_close(m);
    return m != NULL;
}

void grammar_fixture_all(grammar *g, const char *const *texts, bool accepted)
{
    for (; *texts; texts++)
        if (grammar_fixture_accepts(g, *texts) != accepted)
            fail_msg("%s: %s", *texts, accepted ? "refused" : "accepted");
}

/* ---- masks ------------------------------------------------------------------------------------------------------- */

static void fail_token(const char *text, int32_t id, bool masked)
{
    size_t size;
    const char *bytes = tokenizer_bytes(grammar_fixture_tokenizer(), id, &size);
    fail_msg("after '%s': token %d '%.*s' is %s", text, (int)id, (int)size, bytes, masked ? "masked in" : "masked out");
}

void grammar_fixture_mask_is_exact(grammar *g, const char *text)
{
    enum { EVERY = 7 }; /* of the masked tokens; all of them with $GPTOSS_LONG */
    const grammar_vocab *v = grammar_fixture_vocab();
    uint32_t *bits = malloc(grammar_vocab_words(v) * sizeof *bits);
    grammar_matcher *m = after_bytes(g, text, strlen(text));
    if (!m) fail_msg("%s: no prefix", text);
    assert_int_equal(grammar_matcher_mask(m, bits, NULL), STATUS_OK);
    bool may_continue = grammar_matcher_may_continue(m);
    size_t masked = 0, step = getenv("GPTOSS_LONG") ? 1 : EVERY;
    for (int32_t id = 0; id < grammar_vocab_size(v); id++) {
        bool is_masked = bits[id >> 5] >> (id & 31) & 1;
        masked += is_masked;
        if (is_masked && masked % step) continue;
        if (grammar_matcher_accept(m, id) != is_masked) fail_token(text, id, is_masked);
        if (!is_masked) continue;
        grammar_matcher_close(m); /* it moved on */
        m = after_bytes(g, text, strlen(text));
    }
    assert_int_equal(masked > 0, may_continue);
    grammar_matcher_close(m);
    free(bits);
}
