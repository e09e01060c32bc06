#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/schema_keys.h"

/* An object is written from state to state: state (i, count) stands before property i when `count` were written. */
typedef struct writer {
    schema *s;
    const schema_keys *keys;
    expr *members;        /* [n] "name": value */
    expr extra;           /* one member with another name; EXPR_FAIL: there is none */
    uint32_t least, most; /* properties */
    uint32_t cap;         /* counts stop here */
} writer;

/* ---- members ----------------------------------------------------------------------------------------------------- */

static expr member(schema *s, expr name, expr value)
{
    return expr_cat(s->p, (expr[]){name, expr_text(s->p, ":"), s->text.space, value}, 4);
}

static expr value_of(schema *s, const json_t *of)
{
    return of ? schema_shared(s, of) : expr_rule_use(s->p, s->text.value);
}

static expr key_member(schema *s, const schema_key *key)
{
    size_t before = schema_path_enter(s, key->listed ? "properties" : "required");
    size_t inside = schema_path_enter(s, key->name);
    expr value = value_of(s, key->value);
    schema_path_leave(s, inside);
    schema_path_leave(s, before);
    return member(s, json_text_literal(&s->text, key->name, strlen(key->name)), value);
}

static expr class_member(schema *s, const schema_key_class *class)
{
    size_t before = schema_path_enter(s, class->pattern ? "patternProperties" : "additionalProperties");
    size_t inside = class->pattern ? schema_path_enter(s, class->pattern) : 0;
    expr value = value_of(s, class->value);
    if (class->pattern) schema_path_leave(s, inside);
    schema_path_leave(s, before);
    return member(s, class->name, value);
}

static void write_members(writer *w)
{
    schema *s = w->s;
    expr_list ways = {0};
    for (size_t i = 0; i < w->keys->n && !schema_failed(s); i++) w->members[i] = key_member(s, &w->keys->keys[i]);
    for (size_t i = 0; i < w->keys->n_classes && !schema_failed(s); i++)
        expr_list_add(s->p, &ways, class_member(s, &w->keys->classes[i]));
    w->extra = expr_alt(s->p, ways.items, ways.n);
    if (w->extra != EXPR_FAIL) w->extra = expr_as_rule(s->p, w->extra);
    expr_list_free(&ways);
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

static expr separator(const writer *w, uint32_t count)
{
    expr_pool *p = w->s->p;
    return count == 0 ? w->s->text.space : expr_cat2(p, expr_text(p, ","), w->s->text.space);
}

/* Behind the last property with a name of its own. */
static expr tail(const writer *w, uint32_t count)
{
    expr_pool *p = w->s->p;
    uint32_t least = w->least > count ? w->least - count : 0;
    uint32_t most = w->most == EXPR_NO_LIMIT ? EXPR_NO_LIMIT : w->most - count;
    expr close = expr_cat2(p, w->s->text.space, expr_text(p, "}"));
    /* Other names may repeat, and a name that comes twice counts once: they can stand for one of the least number only.
     */
    if (least > 1 || count > w->most) return EXPR_FAIL;
    expr next = expr_cat2(p, separator(w, 1), w->extra);
    if (count > 0) return expr_cat2(p, expr_repeat(p, next, least, most), close);
    expr more = most == 0 ? EXPR_FAIL : expr_repeat(p, next, 0, most == EXPR_NO_LIMIT ? most : most - 1);
    expr some = expr_cat(p, (expr[]){w->s->text.space, w->extra, more, close}, 4);
    return least == 0 ? expr_alt2(p, expr_text(p, "}"), some) : some;
}

/* The states before property i, from those before property i + 1; in place. */
static void step_back(const writer *w, size_t i, expr *states)
{
    expr_pool *p = w->s->p;
    expr one = w->members[i];
    if (w->cap > 1 || (i > 0 && !w->keys->keys[0].required)) one = one == EXPR_FAIL ? one : expr_as_rule(p, one);
    for (uint32_t count = 0; count <= w->cap && count <= i; count++) {
        uint32_t after = count < w->cap ? count + 1 : count;
        bool room = w->most == EXPR_NO_LIMIT || count < w->most;
        expr write = room ? expr_cat3(p, separator(w, count), one, states[after]) : EXPR_FAIL;
        expr skip = w->keys->keys[i].required ? EXPR_FAIL : states[count];
        expr state = expr_alt2(p, write, skip);
        bool trivial = state == EXPR_FAIL || state == skip;
        states[count] = trivial ? state : expr_as_rule(p, state);
    }
}

static expr write_states(writer *w)
{
    schema *s = w->s;
    size_t n = w->keys->n;
    expr *states = malloc(((size_t)w->cap + 1) * sizeof *states);
    if (!states) return schema_path_no_memory(s);
    for (uint32_t count = 0; count <= w->cap; count++) states[count] = tail(w, count);
    if (n)
        for (uint32_t count = 0; count <= w->cap; count++)
            if (states[count] != EXPR_FAIL) states[count] = expr_as_rule(s->p, states[count]);
    for (size_t i = n; i > 0; i--) step_back(w, i - 1, states);
    expr all = expr_cat2(s->p, expr_text(s->p, "{"), states[0]);
    free(states);
    return all;
}

/* How far properties must be counted. */
static void set_cap(writer *w)
{
    size_t required = 0, possible = 0;
    for (size_t i = 0; i < w->keys->n; i++) {
        required += w->keys->keys[i].required;
        possible += w->members[i] != EXPR_FAIL;
    }
    bool has_extra = w->extra != EXPR_FAIL;
    if (w->least <= required) w->least = 0;
    if (!has_extra && w->most >= possible) w->most = EXPR_NO_LIMIT;
    if (w->least > possible + has_extra)
        schema_path_fail(w->s, STATUS_INVALID,
                         "'minProperties' above the number of listed properties plus one is not supported");
    /* Without bounds only the first is told from the others, for the comma. No more than all listed ones need counting.
     */
    w->cap = w->most != EXPR_NO_LIMIT ? w->most : w->least;
    if (w->cap > w->keys->n) w->cap = (uint32_t)w->keys->n;
    if (w->cap == 0) w->cap = 1;
    if (w->cap > 1 && (size_t)w->cap * (w->keys->n + 1) > SCHEMA_MAX_STATES)
        schema_path_fail(w->s, STATUS_INVALID,
                         "'minProperties' or 'maxProperties' with so many properties is not supported");
}

expr schema_object(schema *s, const json_t *flat)
{
    schema_keys keys;
    expr all = EXPR_FAIL;
    writer w = {.s = s, .keys = &keys, .extra = EXPR_FAIL};
    w.least = schema_keywords_count(s, flat, "minProperties", 0);
    w.most = schema_keywords_count(s, flat, "maxProperties", EXPR_NO_LIMIT);
    schema_keys_read(s, flat, &keys);
    w.members = calloc(keys.n + 1, sizeof *w.members);
    if (!w.members) schema_path_no_memory(s);
    if (!schema_failed(s)) write_members(&w);
    if (!schema_failed(s) && w.least <= w.most) {
        set_cap(&w);
        if (!schema_failed(s)) all = write_states(&w);
    }
    free(w.members);
    schema_keys_free(&keys);
    return all;
}
