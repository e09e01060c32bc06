/* What the store keeps, what it drops, and what it never counts wrong: under the sanitizers a turn freed too early or never shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/responses_store.h"

static buffer text_of(const char *text)
{
    buffer b = {0};
    assert_true(buffer_append_text(&b, text));
    return b;
}

/* A response that is begun and done at once, on from `previous` (NULL: none). */
static void put(responses_store *s, const char *id, const char *previous, const char *input, const char *output)
{
    api_error error = {0};
    responses_turn *before = previous ? responses_store_turn(s, previous, &error) : NULL;
    buffer in = text_of(input), out = text_of(output), object = text_of("{}");
    assert_true(!previous || before);
    assert_true(responses_store_begin(s, id, before, &in, false, s));
    responses_store_finish(s, id, &object, &out);
    responses_store_release(s, before);
    assert_null(in.data);
    buffer_free(&object);
    buffer_free(&out);
}

/* The numbers of a conversation's items, one after the other; NULL: the response is not there. The caller frees it. */
static char *numbers(responses_store *s, const char *id, bool input_only)
{
    api_error error = {0};
    buffer out = text_of("");
    responses_turn *turn = responses_store_turn(s, id, &error);
    if (!turn) {
        assert_true(error.http == 404 && strstr(error.message, id));
        buffer_free(&out);
        return NULL;
    }
    json_t *list = json_array();
    assert_true(responses_store_items(turn, input_only, list));
    for (size_t i = 0; i < json_array_size(list); i++) buffer_printf(&out, "%s%d", i ? " " : "", (int)json_integer_value(json_array_get(list, i)));
    json_decref(list);
    responses_store_release(s, turn);
    return out.data;
}

static void check(responses_store *s, const char *id, bool input_only, const char *wanted)
{
    char *found = numbers(s, id, input_only);
    if (wanted) assert_string_equal(found, wanted);
    else assert_null(found);
    free(found);
}

static void test_conversations_branch(void **state)
{
    (void)state;
    responses_store *s = responses_store_open(1 << 20);
    put(s, "a", NULL, "1", "2,3");
    put(s, "b", "a", "4", "5");
    put(s, "c", "a", "", "6");
    check(s, "b", false, "1 2 3 4 5");
    check(s, "b", true, "1 2 3 4");
    check(s, "c", false, "1 2 3 6");
    assert_true(responses_store_remove(s, "a"));
    assert_false(responses_store_remove(s, "a"));
    check(s, "a", false, NULL);
    check(s, "b", false, "1 2 3 4 5");
    responses_store_close(s);
}

static void test_a_response_in_the_making(void **state)
{
    (void)state;
    responses_store *s = responses_store_open(0); /* nothing that is done has room */
    api_error error = {0};
    buffer in = text_of("1"), out = text_of("2"), object = text_of("{\"id\":\"a\"}");
    assert_true(responses_store_begin(s, "a", NULL, &in, true, s));
    put(s, "b", NULL, "9", "9");
    check(s, "b", false, NULL);
    const responses_entry *entry = responses_store_find(s, "a");
    assert_non_null(entry);
    assert_ptr_equal(entry->running, s);
    assert_true(entry->background);
    assert_null(responses_store_turn(s, "a", &error));
    assert_int_equal(error.http, 400);
    assert_string_equal(error.param, "previous_response_id");
    responses_store_finish(s, "a", &object, &out);
    assert_null(responses_store_find(s, "a"));
    buffer late = text_of("{}"), nothing = {0};
    responses_store_finish(s, "a", &late, &nothing);
    assert_non_null(late.data); /* nobody took it */
    buffer_free(&late);
    responses_store_close(s);
}

static void test_the_least_used_go_first(void **state)
{
    (void)state;
    char id[16], text[2001];
    memset(text, '7', sizeof text - 1);
    text[0] = text[sizeof text - 2] = '"';
    text[sizeof text - 1] = '\0';
    responses_store *s = responses_store_open(20000);
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "r%d", i);
        put(s, id, NULL, text, "1");
        if (i >= 1) assert_non_null(responses_store_find(s, "r0"));
    }
    int there = 0;
    for (int i = 1; i < 30; i++) {
        snprintf(id, sizeof id, "r%d", i);
        bool found = responses_store_find(s, id) != NULL;
        assert_true(found || !there); /* once one is there all younger ones are */
        there += found;
    }
    assert_in_range(there, 4, 9);
    responses_store_close(s);
}

/* A chain is dropped response by response, and its turns with the last that goes on from them. */
static void test_long_chains(void **state)
{
    (void)state;
    enum { LENGTH = 20000 };
    char id[16], before[16];
    responses_store *s = responses_store_open((size_t)64 << 20);
    for (int i = 0; i < LENGTH; i++) {
        snprintf(id, sizeof id, "r%d", i);
        snprintf(before, sizeof before, "r%d", i - 1);
        put(s, id, i ? before : NULL, "1", "2");
    }
    for (int i = 0; i < LENGTH - 1; i++) {
        snprintf(id, sizeof id, "r%d", i);
        assert_true(responses_store_remove(s, id));
    }
    snprintf(id, sizeof id, "r%d", LENGTH - 1);
    char *all = numbers(s, id, false);
    assert_int_equal(strlen(all), 4 * LENGTH - 1);
    free(all);
    assert_true(responses_store_remove(s, id));
    responses_store_close(s);
}

static void test_items_are_found_by_id(void **state)
{
    (void)state;
    responses_store *s = responses_store_open(1 << 20);
    put(s, "a", NULL, "{\"id\":\"x\",\"n\":1}", "{\"id\":\"y\",\"n\":2},{\"id\":\"z\",\"quotes\":\"x\"}");
    put(s, "b", NULL, "{\"id\":\"x\",\"n\":3}", "");
    json_t *found = responses_store_item(s, "x");
    assert_int_equal(json_integer_value(json_object_get(found, "n")), 3); /* the newest */
    json_decref(found);
    found = responses_store_item(s, "y");
    assert_int_equal(json_integer_value(json_object_get(found, "n")), 2);
    json_decref(found);
    assert_null(responses_store_item(s, "quotes"));
    assert_null(responses_store_item(s, "a"));
    responses_store_close(s);
}

static void count_loss(responses_log_reader *r) { r->number = r->log ? r->number : -1; }

static bool add_event(responses_store *s, const char *id, size_t size, bool last)
{
    char *text = calloc(1, size + 1);
    memset(text, 'x', size);
    const responses_event e = {.type = "t", .fields = "", .rest = text, .rest_size = size, .last = last};
    bool kept = responses_store_event(s, id, &e);
    free(text);
    return kept;
}

static void begin(responses_store *s, const char *id)
{
    buffer input = text_of("1");
    assert_true(responses_store_begin(s, id, NULL, &input, true, s));
}

/* Events count like all else: done responses make room for them; when none is left they go themselves, and the response stays. */
static void test_events_are_bounded(void **state)
{
    (void)state;
    responses_store *s = responses_store_open(100000);
    put(s, "old", NULL, "1", "2");
    begin(s, "a");
    assert_false(add_event(s, "a", 10, false)); /* it was not asked for */
    assert_true(!responses_store_find(s, "a")->events && !responses_store_find(s, "a")->streamed);
    responses_store_stream(s, "a");
    begin(s, "b");
    responses_store_stream(s, "b");
    responses_log_reader reader = {.changed = count_loss};
    responses_log_join(responses_store_find(s, "a")->events, &reader, 0);
    for (int i = 0; i < 10; i++) assert_true(add_event(s, "a", 1000, false));
    assert_non_null(responses_store_find(s, "old"));
    int n = 0;
    while (add_event(s, "b", 1000, false)) assert_true(++n < 100);
    assert_true(n >= 40); /* a doubling of 50 kB is what does not fit */
    assert_null(responses_store_find(s, "old"));
    const responses_entry *b = responses_store_find(s, "b");
    assert_true(b && !b->events && b->streamed);
    assert_true(reader.log && add_event(s, "a", 1000, false)); /* there is room again */
    assert_false(add_event(s, "b", 1, false));
    assert_false(add_event(s, "a", 200000, false));
    assert_true(!reader.log && reader.number == -1);
    assert_true(responses_store_find(s, "a") != NULL);
    responses_store_close(s);
}

/* They live and go with their response; an event that could not be made ends the keeping. */
static void test_events_go_with_their_response(void **state)
{
    (void)state;
    responses_store *s = responses_store_open(100000);
    responses_log_reader readers[3];
    const char *const ids[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        begin(s, ids[i]);
        responses_store_stream(s, ids[i]);
        readers[i] = (responses_log_reader){.changed = count_loss};
        responses_log_join(responses_store_find(s, ids[i])->events, &readers[i], 0);
        buffer object = text_of("{}"), output = text_of("");
        if (i < 2) responses_store_finish(s, ids[i], &object, &output);
        buffer_free(&object);
        buffer_free(&output);
        assert_true(add_event(s, ids[i], 10, i < 2));
    }
    assert_true(responses_store_remove(s, "a"));
    assert_true(!readers[0].log && readers[1].log && readers[2].log);
    assert_false(responses_store_event(s, "c", NULL));
    assert_true(!readers[2].log && responses_store_find(s, "c")->streamed);
    assert_false(add_event(s, "nobody", 1, false));
    responses_store_close(s);
    assert_null(readers[1].log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations_branch), cmocka_unit_test(test_a_response_in_the_making), cmocka_unit_test(test_the_least_used_go_first),
        cmocka_unit_test(test_long_chains),          cmocka_unit_test(test_items_are_found_by_id),
        cmocka_unit_test(test_events_are_bounded),   cmocka_unit_test(test_events_go_with_their_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
