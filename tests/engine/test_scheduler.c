/* Properties of the scheduler under random load and tiny pools. A simulated cache holds, for every physical token cell, a tag of the whole
 * chain of ids up to that token; before a step reads a cell its tag must be the one that the sequence's own ids give. So a block
 * used twice, given away too early, shared wrongly or found under a wrong prefix shows at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/engine/scheduler.h"
#include "tests/engine/test_random.h"

enum { VOCAB = 50, MAX_LEN = 96, MAX_REQUESTS = 600, MAX_GROUPS = 3 };

typedef struct load {
    scheduler_shape shape;
    int requests;
    int depth;            /* steps in flight */
    int arrival_percent;  /* chance of a new request before a step */
    int cancel_percent;   /* chance of a cancellation before a step */
    int levels;           /* priorities */
    int shared_percent;   /* prompts that begin like earlier ones */
    bool limited;         /* a new limit on prompts before each step */
} load;

/* A request with the ids that its steps really draw, known to the "device" before they are read. */
typedef struct client {
    sequence *seq;        /* NULL: not there, or freed */
    int32_t real[MAX_LEN];
    uint64_t tags[MAX_LEN];
    int n_real;
    bool finished, started;
} client;

typedef struct part {
    client *who;
    int first, n;
    bool draws;
    int32_t drawn;
} part;

typedef struct flight {
    part parts[64];
    int n;
} flight;

typedef struct simulation {
    const load *load;
    test_random random;
    scheduler *s;
    client clients[MAX_REQUESTS];
    int submitted, finished, cancelled;
    uint64_t last_started;  /* id, where all have one priority */
    uint64_t *cells[MAX_GROUPS][OPS_KV_KINDS]; /* tags, [blocks * block_tokens] */
    flight flights[3];
    int n_flights;
    int steps;
    uint64_t preemptions, hits; /* as the scheduler counted them */
} simulation;

static uint64_t tag_after(uint64_t before, int32_t id) { return test_random_mix(before * 31 + (uint64_t)id + 1) | 1; }

static void learn(client *c, int32_t id)
{
    c->tags[c->n_real] = tag_after(c->n_real ? c->tags[c->n_real - 1] : 0, id);
    c->real[c->n_real++] = id;
}

static void submit(simulation *m)
{
    client *c = &m->clients[m->submitted];
    int32_t prompt[MAX_LEN];
    int n = test_random_range(&m->random, 1, m->load->shape.max_model_len - 1), from = 0;
    if (m->submitted > 0 && test_random_chance(&m->random, m->load->shared_percent)) {
        const client *other = &m->clients[test_random_range(&m->random, m->submitted > 6 ? m->submitted - 6 : 0, m->submitted - 1)];
        from = other->n_real < n ? other->n_real : n;
        memcpy(prompt, other->real, (size_t)from * sizeof *prompt);
    }
    for (int i = from; i < n; i++) prompt[i] = test_random_range(&m->random, 0, VOCAB - 1);
    engine_request r = {.prompt = prompt, .n_prompt = n, .max_tokens = test_random_range(&m->random, 0, 40), .top_logprobs = -1,
                        .prompt_logprobs = test_random_chance(&m->random, 20) ? 0 : -1,
                        .priority = test_random_range(&m->random, 1, m->load->levels), .user = c};
    r.sampling = (ops_sampling){.top_p = 1, .repetition_penalty = 1};
    sequence_limits limits = {.vocab = VOCAB, .max_model_len = m->load->shape.max_model_len,
                              .block_tokens = m->load->shape.kv.block_tokens, .prefix_cache = m->load->shape.kv.prefix_cache};
    assert_int_equal(sequence_create(&r, &limits, &c->seq, NULL), STATUS_OK);
    for (int i = 0; i < n; i++) learn(c, prompt[i]);
    c->seq->id = (uint64_t)++m->submitted;
    scheduler_add(m->s, c->seq);
}

static void drop(client *c)
{
    sequence_free(c->seq);
    c->seq = NULL;
}

static void finish(simulation *m, client *c)
{
    c->finished = true;
    m->finished++;
    if (scheduler_finish(m->s, c->seq)) drop(c);
}

static void cancel_one(simulation *m)
{
    client *c = &m->clients[test_random_range(&m->random, 0, m->submitted - 1)];
    if (c->finished) return;
    m->cancelled++;
    finish(m, c);
}

static uint64_t *cell(simulation *m, const sequence *seq, int kind, int position)
{
    int width = m->load->shape.kv.block_tokens;
    int32_t block = seq->kv.table[kind][position / width];
    assert_in_range(block, 0, m->load->shape.kv.blocks[kind] - 1);
    return &m->cells[seq->group][kind][block * width + position % width];
}

/* Runs a sequence's part as a device would: writes its cells, reads all that its queries see. */
static void run_part(simulation *m, client *c, part *out)
{
    sequence *seq = c->seq;
    int window = m->load->shape.kv.window, width = m->load->shape.kv.block_tokens, first = seq->computed, n = seq->step_tokens;
    assert_true(first + n <= seq->kv.count * width && first + n <= c->n_real);
    int visible = first - window + 1 > 0 ? first - window + 1 : 0;
    assert_int_equal(seq->kv.sliding_first, visible / width); /* all that is behind was given back, and no more */
    for (int i = 0; i < n; i++) {
        int32_t shown = seq->ids[first + i];
        /* An id that only the device knows lies in the slot that drew it: a new slot must be told all. */
        assert_true(shown == c->real[first + i] || (shown == -1 && first + i >= seq->n_ids && !seq->begins));
        for (int kind = 0; kind < OPS_KV_KINDS; kind++) *cell(m, seq, kind, first + i) = c->tags[first + i];
    }
    for (int p = 0; p < first + n; p++) assert_true(*cell(m, seq, OPS_FULL, p) == c->tags[p]);
    for (int p = visible; p < first + n; p++) assert_true(*cell(m, seq, OPS_SLIDING, p) == c->tags[p]);
    *out = (part){.who = c, .first = first, .n = n, .draws = sequence_draws(seq, n)};
    if (out->draws) {
        out->drawn = test_random_range(&m->random, 0, VOCAB - 1);
        learn(c, out->drawn);
    }
}

static void check_group(simulation *m, const scheduler_group *g)
{
    int decodes_left_out = 0, of_prompts = 0;
    bool slots[64] = {false};
    assert_true(g->n_step <= m->load->shape.slots && g->step_tokens <= m->load->shape.max_tokens);
    for (int i = 0; i < g->n_step; i++) {
        assert_in_range(g->step[i]->slot, 0, m->load->shape.slots - 1);
        assert_false(slots[g->step[i]->slot]);
        slots[g->step[i]->slot] = true;
        of_prompts += sequence_remaining(g->step[i]) > 1 ? g->step[i]->step_tokens : 0;
    }
    if (!g->preempted) assert_true(of_prompts <= m->s->prompt_limit);
    for (int i = 0; i < g->n_running; i++) {
        assert_true(i == 0 || sequence_before(g->running[i - 1], g->running[i]));
        decodes_left_out += g->running[i]->step_tokens == 0 && sequence_remaining(g->running[i]) == 1;
    }
    /* A decode waits only for want of blocks. */
    if (decodes_left_out)
        assert_true(g->preempted || kv_cache_free_blocks(g->kv, OPS_FULL) == 0 || kv_cache_free_blocks(g->kv, OPS_SLIDING) == 0);
}

static void launch(simulation *m)
{
    flight *f = &m->flights[m->n_flights++];
    f->n = 0;
    for (int g = 0; g < m->load->shape.groups; g++) {
        check_group(m, &m->s->groups[g]);
        for (int i = 0; i < m->s->groups[g].n_step; i++) {
            client *c = m->s->groups[g].step[i]->user;
            if (!c->started && m->load->levels == 1 && m->load->shape.groups == 1) {
                assert_true(c->seq->id > m->last_started);
                m->last_started = c->seq->id;
            }
            c->started = true;
            run_part(m, c, &f->parts[f->n++]);
        }
    }
    scheduler_launched(m->s);
    m->steps++;
}

static void retire(simulation *m)
{
    flight f = m->flights[0];
    m->n_flights--;
    memmove(&m->flights[0], &m->flights[1], (size_t)m->n_flights * sizeof f);
    for (int i = 0; i < f.n; i++) {
        client *c = f.parts[i].who;
        engine_finish reason;
        int32_t stop_id;
        if (!c->finished && f.parts[i].draws) {
            sequence_append(c->seq, f.parts[i].drawn);
            /* Id 0 plays a stop id. */
            if (f.parts[i].drawn == 0 || sequence_ends(c->seq, f.parts[i].drawn, &reason, &stop_id)) finish(m, c);
        } else if (!c->finished && c->seq->max_tokens == 0 && f.parts[i].first + f.parts[i].n == c->seq->n_prompt) {
            finish(m, c);
        }
        if (scheduler_retire(m->s, c->seq)) drop(c);
    }
}

static void open_simulation(simulation *m, const load *l, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->load = l;
    m->random.state = seed;
    assert_int_equal(scheduler_open(&l->shape, &m->s, NULL), STATUS_OK);
    for (int g = 0; g < l->shape.groups; g++)
        for (int kind = 0; kind < OPS_KV_KINDS; kind++)
            m->cells[g][kind] = calloc((size_t)(l->shape.kv.blocks[kind] * l->shape.kv.block_tokens), sizeof(uint64_t));
}

static void close_simulation(simulation *m)
{
    for (int g = 0; g < m->load->shape.groups; g++) {
        for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
            assert_int_equal(kv_cache_free_blocks(m->s->groups[g].kv, kind), m->load->shape.kv.blocks[kind]);
            free(m->cells[g][kind]);
        }
        assert_int_equal(m->s->groups[g].n_free_slots, m->load->shape.slots);
    }
    scheduler_close(m->s);
}

/* Plays the load to its end: nobody starves, nothing leaks. */
static void play(simulation *m, const load *l, uint64_t seed)
{
    open_simulation(m, l, seed);
    for (int turn = 0; m->finished < l->requests; turn++) {
        assert_true(turn < 200000);
        while (m->submitted < l->requests && (test_random_chance(&m->random, l->arrival_percent) || m->submitted == m->finished)) submit(m);
        if (test_random_chance(&m->random, l->cancel_percent)) cancel_one(m);
        if (l->limited) scheduler_limit_prompts(m->s, test_random_range(&m->random, 1, l->shape.max_tokens + 5));
        int tokens = scheduler_step(m->s);
        if (tokens == 0 && m->n_flights == 0 && m->finished < m->submitted) fail_msg("nobody gets on");
        if (tokens > 0) launch(m);
        while (m->n_flights > (tokens > 0 ? l->depth : 0)) retire(m);
    }
    while (m->n_flights > 0) retire(m);
    for (int i = 0; i < m->submitted; i++) assert_null(m->clients[i].seq);
    assert_int_equal(m->s->n_waiting, 0);
    m->preemptions = m->s->preemptions;
    m->hits = m->s->prefix_hits;
    close_simulation(m);
}

static load base_load(void)
{
    return (load){.shape = {.groups = 1, .slots = 6, .max_tokens = 24, .max_model_len = MAX_LEN, .max_sequences = MAX_REQUESTS,
                            .kv = {.block_tokens = 4, .window = 10, .blocks = {24, 10}, .prefix_cache = true}},
                  .requests = MAX_REQUESTS, .arrival_percent = 40, .levels = 1, .shared_percent = 60};
}

static simulation shared; /* too large for the stack */

static void tiny_pools_in_both_depths(void **state)
{
    (void)state;
    uint64_t preemptions = 0, hits = 0;
    for (int depth = 0; depth < 2; depth++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            load l = base_load();
            l.depth = depth;
            play(&shared, &l, seed);
            preemptions += shared.preemptions;
            hits += shared.hits;
        }
    }
    print_message("%llu preemptions, %llu tokens from the prefix cache\n", (unsigned long long)preemptions, (unsigned long long)hits);
    /* otherwise nothing was tested */
    assert_true(preemptions > 300 && hits > 3000);
}

/* Every mix of sizes: the window smaller and larger than a block, pools that just hold one sequence, one slot, one token a step. */
static void random_shapes(void **state)
{
    (void)state;
    test_random random = {77};
    for (int round = 0; round < 120; round++) {
        load l = base_load();
        l.requests = 60;
        l.depth = round % 2;
        l.shape.groups = test_random_range(&random, 1, MAX_GROUPS);
        l.shape.slots = test_random_range(&random, 1, 8);
        l.shape.max_tokens = l.shape.slots + test_random_range(&random, 0, 60);
        l.shape.kv.block_tokens = test_random_range(&random, 1, 9);
        l.shape.kv.window = test_random_range(&random, 1, 30);
        l.shape.kv.prefix_cache = test_random_chance(&random, 75);
        l.shape.kv.blocks[OPS_FULL] = (MAX_LEN - 1) / l.shape.kv.block_tokens + 1 + test_random_range(&random, 0, 20);
        l.shape.kv.blocks[OPS_SLIDING] = kv_cache_window_blocks(&l.shape.kv) + 1 + test_random_range(&random, 0, 20);
        l.arrival_percent = test_random_range(&random, 5, 95);
        l.cancel_percent = test_random_chance(&random, 50) ? test_random_range(&random, 1, 30) : 0;
        l.levels = test_random_chance(&random, 50) ? 1 : 4;
        l.shared_percent = test_random_range(&random, 0, 100);
        l.limited = round % 3 == 0;
        play(&shared, &l, (uint64_t)round + 1000);
    }
}

static sequence *add(scheduler *s, const scheduler_shape *shape, uint64_t id, int n_prompt, int priority, int32_t first)
{
    int32_t prompt[MAX_LEN];
    for (int i = 0; i < n_prompt; i++) prompt[i] = (first + i) % VOCAB;
    engine_request r = {.prompt = prompt, .n_prompt = n_prompt, .max_tokens = 40, .top_logprobs = -1, .prompt_logprobs = -1,
                        .priority = priority, .sampling = {.top_p = 1, .repetition_penalty = 1}};
    sequence_limits limits = {.vocab = VOCAB, .max_model_len = shape->max_model_len, .block_tokens = shape->kv.block_tokens,
                              .prefix_cache = shape->kv.prefix_cache};
    sequence *seq;
    assert_int_equal(sequence_create(&r, &limits, &seq, NULL), STATUS_OK);
    seq->id = id;
    scheduler_add(s, seq);
    return seq;
}

/* One synchronous step in which everybody draws id 1. */
static int step_once(scheduler *s)
{
    sequence *in_step[64];
    int n = 0, tokens = scheduler_step(s);
    for (int g = 0; g < s->shape.groups; g++)
        for (int i = 0; i < s->groups[g].n_step; i++) in_step[n++] = s->groups[g].step[i];
    scheduler_launched(s);
    for (int i = 0; i < n; i++) {
        if (in_step[i]->pending) sequence_append(in_step[i], 1);
        scheduler_retire(s, in_step[i]);
    }
    return tokens;
}

static void end(scheduler *s, sequence *seq)
{
    if (scheduler_finish(s, seq)) sequence_free(seq);
}

static void decodes_come_before_prompt_chunks(void **state)
{
    (void)state;
    scheduler_shape shape = base_load().shape;
    shape.max_tokens = 8;
    shape.kv.blocks[OPS_FULL] = shape.kv.blocks[OPS_SLIDING] = 100;
    scheduler *s;
    assert_int_equal(scheduler_open(&shape, &s, NULL), STATUS_OK);
    sequence *a = add(s, &shape, 1, 5, 0, 0), *b = add(s, &shape, 2, 30, 0, 7);
    assert_int_equal(step_once(s), 8); /* 5 of a, 3 of b */
    assert_int_equal(b->computed, 3);
    assert_int_equal(step_once(s), 8); /* a decodes, 7 of b */
    assert_int_equal(a->computed, 6);
    assert_int_equal(b->computed, 10);
    end(s, a);
    end(s, b);
    scheduler_close(s);
}

/* Steps until somebody more is preempted. */
static void until_preempted(scheduler *s)
{
    uint64_t before = s->preemptions;
    for (int i = 0; i < 200 && s->preemptions == before; i++) step_once(s);
    assert_true(s->preemptions == before + 1);
}

static void the_lowest_priority_then_the_youngest_is_preempted(void **state)
{
    (void)state;
    scheduler_shape shape = base_load().shape;
    shape.max_tokens = 60;
    shape.kv.blocks[OPS_SLIDING] = 100;
    scheduler *s;
    assert_int_equal(scheduler_open(&shape, &s, NULL), STATUS_OK);
    sequence *low = add(s, &shape, 1, 15, 5, 0), *old = add(s, &shape, 2, 15, 1, 10), *young = add(s, &shape, 3, 15, 1, 20);
    until_preempted(s); /* 24 blocks for up to 3 * 55 / 4 */
    assert_int_equal(low->state, SEQUENCE_WAITING);
    assert_int_equal(young->state, SEQUENCE_RUNNING);
    int kept = low->n_ids;
    assert_true(kept > 15);
    until_preempted(s);
    assert_int_equal(young->state, SEQUENCE_WAITING);
    assert_int_equal(old->state, SEQUENCE_RUNNING);
    assert_int_equal(low->n_ids, kept);
    end(s, old);
    end(s, young);
    step_once(s);
    assert_int_equal(low->state, SEQUENCE_RUNNING); /* comes back with all it had generated */
    assert_true(low->n_ids == kept + 1 && s->recomputed > 0);
    end(s, low);
    scheduler_close(s);
}

static void a_group_is_chosen_by_prefix_then_load(void **state)
{
    (void)state;
    scheduler_shape shape = base_load().shape;
    shape.groups = 2;
    shape.max_tokens = 90;
    shape.kv.blocks[OPS_FULL] = shape.kv.blocks[OPS_SLIDING] = 100;
    scheduler *s;
    assert_int_equal(scheduler_open(&shape, &s, NULL), STATUS_OK);
    sequence *a = add(s, &shape, 1, 40, 0, 0), *b = add(s, &shape, 2, 40, 0, 20);
    step_once(s);
    assert_int_not_equal(a->group, b->group); /* by load */
    int where = b->group;
    end(s, a);
    end(s, b);
    sequence *c = add(s, &shape, 3, 41, 0, 20);
    step_once(s);
    assert_int_equal(c->group, where); /* by prefix */
    assert_int_equal(c->n_cached, 40);
    sequence *d = add(s, &shape, 4, 41, 0, 20);
    step_once(s);
    assert_int_not_equal(d->group, where); /* a short prefix is not worth a busier group */
    end(s, c);
    end(s, d);
    scheduler_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_pools_in_both_depths),
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(decodes_come_before_prompt_chunks),
        cmocka_unit_test(the_lowest_priority_then_the_youngest_is_preempted),
        cmocka_unit_test(a_group_is_chosen_by_prefix_then_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
