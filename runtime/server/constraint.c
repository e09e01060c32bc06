/* One sequence's side: masks and tokens, on the engine's thread. */
#include "runtime/server/constraint.h"

#include <stdlib.h>
#include <string.h>

typedef struct constrained {
    constraint *shared; /* a reference */
    constraint_turn turn;
    grammar_matcher *text;
    bool over;          /* TEXT: something came that is no part of it, or memory ended: only what closes it may follow */
    int generated;
    int32_t *recent;    /* [shared->longest_bad - 1] the last ids */
    size_t n_recent;
} constrained;

void constraint_release(constraint *c)
{
    if (!c || atomic_fetch_sub(&c->references, 1) != 1) return;
    constraint_rules_free(&c->rules);
    grammar_release(c->text);
    for (size_t i = 0; c->bad && i < c->n_bad; i++) id_list_free(&c->bad[i]);
    free(c->bad);
    free(c->allowed);
    free(c);
}

/* ---- sets of ids ------------------------------------------------------------------------------------------------ */

static bool has(const uint32_t *bits, size_t words, int32_t id) { return (size_t)id / 32 < words && bits[id / 32] >> id % 32 & 1; }

static void put(uint32_t *bits, size_t words, int32_t id)
{
    if ((size_t)id / 32 < words) bits[id / 32] |= 1u << id % 32;
}

static bool is_empty(const uint32_t *bits, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (bits[i]) return false;
    return true;
}

/* Takes ids out, unless nothing would be left: what must hold goes before what should. */
static void remove_ids(uint32_t *bits, size_t words, const int32_t *ids, size_t n)
{
    enum { MOST = 64 };
    for (size_t done = 0; done < n; done += MOST) {
        size_t part = n - done < MOST ? n - done : MOST;
        bool was[MOST];
        for (size_t i = 0; i < part; i++) was[i] = has(bits, words, ids[done + i]);
        for (size_t i = 0; i < part; i++)
            if (was[i]) bits[ids[done + i] / 32] &= ~(1u << ids[done + i] % 32);
        if (!is_empty(bits, words)) continue;
        for (size_t i = 0; i < part; i++)
            if (was[i]) put(bits, words, ids[done + i]);
    }
}

static void intersect(uint32_t *bits, const uint32_t *with, size_t words)
{
    bool any = false;
    for (size_t i = 0; i < words && !any; i++) any = bits[i] & with[i];
    for (size_t i = 0; i < words && any; i++) bits[i] &= with[i];
}

/* ---- the parts -------------------------------------------------------------------------------------------------- */

/* False: every id may come, and `bits` is as before. */
static bool mask_text(constrained *q, uint32_t *bits)
{
    const constraint *c = q->shared;
    if (q->text && !q->over && grammar_matcher_mask(q->text, bits, NULL) != STATUS_OK) {
        memset(bits, 0, c->words * sizeof *bits);
        q->over = true;
    }
    if (!q->text || q->over || grammar_matcher_is_done(q->text))
        for (int i = 0; i < c->n_closing_ids; i++) put(bits, c->words, c->closing_ids[i]);
    return true;
}

static bool mask_shape(constrained *q, uint32_t *bits)
{
    switch (q->shared->shape) {
    case CONSTRAINT_ANY: return false;
    case CONSTRAINT_TEXT: return mask_text(q, bits);
    case CONSTRAINT_TURN: return constraint_turn_mask(&q->turn, bits);
    }
    return false;
}

/* Whether the run's ids but the last are the latest ones. */
static bool completes(const constrained *q, const id_list *run)
{
    size_t before = run->count - 1;
    return before <= q->n_recent && memcmp(q->recent + q->n_recent - before, run->ids, before * sizeof *run->ids) == 0;
}

/* bits [shared->words] */
static bool write_mask(constrained *q, uint32_t *bits)
{
    const constraint *c = q->shared;
    bool waits = q->generated < c->min_tokens;
    bool shaped = mask_shape(q, bits), tailored = shaped;
    if (!shaped && !c->allowed && !c->n_bad && !waits) return false;
    if (!shaped) memset(bits, 0xff, c->words * sizeof *bits);
    if (c->allowed) {
        intersect(bits, c->allowed, c->words);
        tailored = true;
    }
    for (size_t i = 0; i < c->n_bad; i++) {
        if (!completes(q, &c->bad[i])) continue;
        remove_ids(bits, c->words, &c->bad[i].ids[c->bad[i].count - 1], 1);
        tailored = true;
    }
    if (waits) remove_ids(bits, c->words, c->stop_ids, (size_t)c->n_stop_ids);
    return tailored || waits;
}

/* A model may have more ids than its tokenizer, which are then never drawn, or fewer. */
static bool give_mask(void *user, uint32_t *bits, size_t words)
{
    constrained *q = user;
    size_t own = q->shared->words;
    if (words >= own) return write_mask(q, bits);
    uint32_t *wide = calloc(own, sizeof *wide);
    bool limited = !wide || write_mask(q, wide);
    if (wide && limited) memcpy(bits, wide, words * sizeof *bits);
    free(wide);
    return limited;
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

static void remember(constrained *q, int32_t id)
{
    size_t most = q->shared->longest_bad > 0 ? q->shared->longest_bad - 1 : 0;
    if (most == 0) return;
    if (q->n_recent == most) memmove(q->recent, q->recent + 1, --q->n_recent * sizeof *q->recent);
    q->recent[q->n_recent++] = id;
}

static void take_token(void *user, int32_t id)
{
    constrained *q = user;
    q->generated++;
    remember(q, id);
    if (q->shared->shape == CONSTRAINT_TURN) constraint_turn_accept(&q->turn, id);
    if (q->shared->shape == CONSTRAINT_TEXT && !q->over) q->over = !q->text || !grammar_matcher_accept(q->text, id);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void release_sequence(void *user)
{
    constrained *q = user;
    if (q->shared->shape == CONSTRAINT_TURN) constraint_turn_end(&q->turn);
    grammar_matcher_close(q->text);
    constraint_release(q->shared);
    free(q->recent);
    free(q);
}

bool constraint_open(constraint *c, engine_constraint *out)
{
    constrained *q = calloc(1, sizeof *q);
    if (!q) return false;
    atomic_fetch_add(&c->references, 1);
    q->shared = c;
    q->recent = calloc(c->longest_bad + 1, sizeof *q->recent);
    bool good = q->recent != NULL;
    if (good && c->shape == CONSTRAINT_TEXT) good = grammar_matcher_open(c->text, &q->text, NULL) == STATUS_OK;
    if (good && c->shape == CONSTRAINT_TURN) constraint_turn_begin(&q->turn, &c->rules, c->tokens);
    if (!good) {
        release_sequence(q);
        return false;
    }
    *out = (engine_constraint){q, give_mask, take_token, release_sequence};
    return true;
}
