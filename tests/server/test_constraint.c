/* Grammars that are kept, and a turn that takes a token it did not allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/constraint_turn.h"

static tokenizer *tokens;
static constraint_cache *cache;

static int open_all(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/data/tiny", getenv("GPTOSS_TESTS_DIR"));
    return tokenizer_open(path, &tokens, NULL) != STATUS_OK || constraint_cache_open(tokens, &cache, NULL) != STATUS_OK;
}

static int close_all(void **state)
{
    (void)state;
    constraint_cache_close(cache);
    tokenizer_close(tokens);
    return 0;
}

static grammar *get(constraint_source source, bool may_compile)
{
    grammar *out = NULL;
    status_detail detail = {""};
    if (constraint_cache_get(cache, &source, may_compile, &out, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return out;
}

static constraint_source regex(const char *text) { return (constraint_source){.kind = CONSTRAINT_REGEX, .text = text, .size = strlen(text)}; }

static void a_grammar_is_compiled_once(void **state)
{
    (void)state;
    assert_null(get(regex("once"), false)); /* not known, and not to be compiled here */
    grammar *first = get(regex("once"), true), *second = get(regex("once"), false), *third = get(regex("once"), true);
    assert_non_null(first);
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, third);
    json_t *strings = json_pack("[s]", "once");
    grammar *choice = get((constraint_source){.kind = CONSTRAINT_CHOICE, .json = strings}, true);
    assert_ptr_not_equal(choice, first); /* the kind belongs to the key, and so does the white space */
    grammar *loose = get((constraint_source){.kind = CONSTRAINT_JSON_OBJECT}, true);
    grammar *tight = get((constraint_source){.kind = CONSTRAINT_JSON_OBJECT, .compact = true}, true);
    assert_ptr_not_equal(loose, tight);
    grammar *all[] = {first, second, third, choice, loose, tight};
    for (int i = 0; i < 6; i++) grammar_release(all[i]);
    json_decref(strings);
}

static void what_was_used_last_is_kept(void **state)
{
    (void)state;
    char text[32];
    grammar_release(get(regex("kept"), true));
    for (int i = 0; i < CONSTRAINT_CACHE_GRAMMARS + 20; i++) {
        snprintf(text, sizeof text, "number%d", i);
        grammar_release(get(regex(text), true));
        grammar *kept = get(regex("kept"), false);
        assert_non_null(kept);
        grammar_release(kept);
    }
    assert_null(get(regex("number0"), false));
    grammar_release(get(regex(text), false));
}

static void a_grammar_that_is_none_is_named(void **state)
{
    (void)state;
    grammar *out = NULL;
    status_detail detail = {""};
    constraint_source source = regex("(");
    assert_int_equal(constraint_cache_get(cache, &source, true, &out, &detail), STATUS_INVALID);
    assert_null(out);
    assert_memory_equal(detail.text, "regex: ", 7);
    assert_int_equal(constraint_cache_get(cache, &source, false, &out, &detail), STATUS_OK); /* nobody knows yet */
    assert_null(out);
}

/* ---- turns ------------------------------------------------------------------------------------------------------ */

static constraint_rules plain_rules(void)
{
    json_t *channels = json_pack("[s,s]", "analysis", "final"), *roles = json_pack("[s]", "assistant");
    constraint_rules r = {.ids = *constraint_cache_ids(cache), .ordinary = constraint_cache_ordinary(cache), .words = constraint_cache_words(cache)};
    r.answer = get(regex("[0-9]{2}"), true);
    r.roles[1] = get((constraint_source){.kind = CONSTRAINT_CHOICE, .json = roles}, true);
    for (int i = 0; i < CONSTRAINT_STAGES; i++) r.channels[i] = get((constraint_source){.kind = CONSTRAINT_CHOICE, .json = channels}, true);
    json_decref(channels);
    json_decref(roles);
    return r;
}

static bool allows(constraint_turn *t, int32_t id)
{
    uint32_t bits[64] = {0};
    assert_true(t->rules->words <= 64);
    return !constraint_turn_mask(t, bits) || bits[id / 32] >> id % 32 & 1;
}

static void say(constraint_turn *t, const char *text)
{
    id_list ids = {0};
    assert_int_equal(tokenizer_encode(tokens, text, strlen(text), &ids, NULL), STATUS_OK);
    for (size_t i = 0; i < ids.count; i++) {
        if (!allows(t, ids.ids[i])) fail_msg("\"%s\": token %zu is not allowed", text, i);
        constraint_turn_accept(t, ids.ids[i]);
    }
    id_list_free(&ids);
}

static void mark(constraint_turn *t, int32_t id)
{
    assert_true(allows(t, id));
    constraint_turn_accept(t, id);
}

static int count_allowed(constraint_turn *t)
{
    int n = 0;
    for (int32_t id = 0; id < tokenizer_size(tokens); id++) n += allows(t, id);
    return n;
}

static void a_turn_goes_its_way(void **state)
{
    (void)state;
    constraint_rules r = plain_rules();
    constraint_turn t;
    constraint_turn_begin(&t, &r, tokens);
    assert_int_equal(count_allowed(&t), 1); /* there is nobody to call */
    mark(&t, r.ids.channel);
    say(&t, "analysis");
    mark(&t, r.ids.message);
    say(&t, "<|return|> is text here");
    assert_false(allows(&t, r.ids.final_return));
    assert_false(allows(&t, r.ids.start));
    mark(&t, r.ids.end);
    assert_int_equal(count_allowed(&t), 1);
    mark(&t, r.ids.start);
    say(&t, "assistant");
    mark(&t, r.ids.channel);
    say(&t, "final");
    mark(&t, r.ids.message);
    assert_false(allows(&t, r.ids.final_return));
    say(&t, "42");
    assert_int_equal(count_allowed(&t), 1);
    mark(&t, r.ids.final_return);
    assert_int_equal(count_allowed(&t), tokenizer_size(tokens)); /* what comes now is not read */
    constraint_turn_end(&t);
    constraint_rules_free(&r);
}

/* Whatever is drawn against the mask, at every place: the turn ends at once, and takes no harm. */
static void a_turn_that_is_lost_ends(void **state)
{
    (void)state;
    constraint_rules r = plain_rules();
    for (int place = 0; place < 4; place++) {
        constraint_turn t;
        constraint_turn_begin(&t, &r, tokens);
        if (place > 0) mark(&t, r.ids.channel);
        if (place > 1) say(&t, "fin");
        if (place > 2) say(&t, "al");
        if (place > 2) mark(&t, r.ids.message);
        constraint_turn_accept(&t, place == 2 ? r.ids.message : r.ids.start);
        assert_int_equal(t.place, CONSTRAINT_LOST);
        assert_int_equal(count_allowed(&t), 1);
        constraint_turn_accept(&t, -1);
        constraint_turn_accept(&t, tokenizer_size(tokens) + 77);
        mark(&t, r.ids.final_return);
        assert_int_equal(t.place, CONSTRAINT_OVER);
        constraint_turn_end(&t);
    }
    constraint_rules_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grammar_is_compiled_once), cmocka_unit_test(what_was_used_last_is_kept), cmocka_unit_test(a_grammar_that_is_none_is_named),
        cmocka_unit_test(a_turn_goes_its_way),        cmocka_unit_test(a_turn_that_is_lost_ends),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
