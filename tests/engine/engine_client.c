#include "tests/engine/engine_client.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- constraints ------------------------------------------------------------------------------------------------ */

bool client_constraint_bits(uint64_t accepted, int vocab, uint32_t *bits)
{
    test_random random = {accepted};
    int kind = test_random_range(&random, 0, 4), few = kind == 1 ? 1 : test_random_range(&random, 1, 5);
    size_t words = ops_mask_words(vocab);
    if (kind == 0) return false;
    memset(bits, kind == 3 ? 0xff : 0, words * sizeof *bits);
    for (int i = 0; i < few && kind != 4; i++) {
        int id = test_random_range(&random, 0, vocab - 1);
        if (kind == 3) bits[id / 32] &= ~(1u << id % 32);
        else bits[id / 32] |= 1u << id % 32;
    }
    for (size_t i = 0; i < words && kind == 4; i++) bits[i] = (uint32_t)test_random_next(&random) | 1; /* never empty */
    return true;
}

uint64_t client_constraint_next(uint64_t accepted, int32_t id) { return test_random_mix(accepted * 31 + (uint64_t)(uint32_t)id + 1); }

static bool constraint_mask(void *user, uint32_t *bits, size_t words)
{
    const client_constraint *c = user;
    bool clean = words == ops_mask_words(c->vocab);
    for (size_t i = 0; i < words; i++) clean = clean && bits[i] == 0;
    if (!clean) abort();
    return client_constraint_bits(c->accepted, c->vocab, bits);
}

static void constraint_accept(void *user, int32_t id)
{
    client_constraint *c = user;
    c->accepted = client_constraint_next(c->accepted, id);
}

static void constraint_free(void *user)
{
    client_constraint *c = user;
    atomic_fetch_add(&c->freed, 1);
}

/* ---- the reference ---------------------------------------------------------------------------------------------- */

/* The value of position `p`, by looking at everything before it. */
static uint64_t value_at(const client_case *c, int p, int window)
{
    uint64_t full = 0, sliding = 0;
    for (int i = 0; i < p; i++) {
        full = fake_draw_see(full, c->values[i]);
        if (i > p - window) sliding = fake_draw_see(sliding, c->values[i]);
    }
    return fake_draw_value(c->ids[p], p, full, sliding);
}

static bool is_stop(const engine_request *r, int32_t id)
{
    for (int i = 0; i < r->n_stop_ids && !r->ignore_stop; i++)
        if (r->stop_ids[i] == id) return true;
    return false;
}

static ops_sampling sampling_with_stops(const engine_request *r, int vocab)
{
    ops_sampling s = r->sampling;
    s.n_suppressed = 0;
    for (int i = 0; i < r->n_stop_ids; i++)
        if (r->stop_ids[i] < vocab) s.suppressed[s.n_suppressed++] = r->stop_ids[i];
    return s;
}

static void answer(client_case *c, const client_profile *p)
{
    const engine_request *r = &c->request;
    ops_sampling sampling = sampling_with_stops(r, p->vocab);
    fake_history history = {0, 0};
    int room = p->max_model_len - r->n_prompt, most = r->max_tokens < room ? r->max_tokens : room, n = r->n_prompt;
    for (int i = 0; i < n; i++) {
        c->values[i] = value_at(c, i, p->window);
        fake_draw_remember(&history, c->ids[i], false);
    }
    c->finish = ENGINE_FINISH_LENGTH;
    c->stop_id = -1;
    uint64_t accepted = 0;
    uint32_t bits[CLIENT_MAX_VOCAB / 32 + 1];
    for (c->n_expected = 0; c->n_expected < most && c->finish != ENGINE_FINISH_STOP; n++) {
        const uint32_t *mask = c->constraint && client_constraint_bits(accepted, p->vocab, bits) ? bits : NULL;
        int32_t id = fake_draw_token(c->values[n - 1], &sampling, &history, p->vocab, n, -1, -1, c->n_expected, mask).id;
        accepted = client_constraint_next(accepted, id);
        fake_draw_remember(&history, id, true);
        c->ids[n] = id;
        c->values[n] = value_at(c, n, p->window);
        c->n_expected++;
        if (!is_stop(r, id)) continue;
        c->finish = ENGINE_FINISH_STOP;
        c->stop_id = id;
    }
}

/* ---- random requests -------------------------------------------------------------------------------------------- */

static void make_sampling(engine_request *r, test_random *random, int vocab)
{
    ops_sampling *s = &r->sampling;
    *s = (ops_sampling){.temperature = test_random_chance(random, 60) ? 1 : 0, .top_p = 1, .repetition_penalty = 1,
                        .seed = test_random_next(random), .min_tokens = test_random_chance(random, 30) ? 6 : 0};
    if (test_random_chance(random, 20)) s->frequency_penalty = 0.5f;
    if (test_random_chance(random, 20)) s->repetition_penalty = 1.5f;
    s->n_bias = test_random_chance(random, 20) ? test_random_range(random, 1, 3) : 0;
    for (int i = 0; i < s->n_bias; i++) {
        s->bias_ids[i] = test_random_range(random, 0, vocab - 1);
        s->bias_values[i] = (float)test_random_range(random, -10, 10);
    }
}

/* A constraint may leave nothing but stop ids, which then must not be suppressed. */
static void constrain(client_case *c, int vocab)
{
    c->constraint = calloc(1, sizeof *c->constraint);
    c->constraint->vocab = vocab;
    c->request.constraint = (engine_constraint){c->constraint, constraint_mask, constraint_accept, constraint_free};
    c->request.sampling.min_tokens = 0;
}

void client_case_make(client_case *cases, int i, test_random *random, const client_profile *p)
{
    client_case *c = &cases[i];
    memset(c, 0, sizeof *c);
    engine_request *r = &c->request;
    int most = p->most_prompt < p->max_model_len - 1 ? p->most_prompt : p->max_model_len - 1, from = 0;
    r->n_prompt = test_random_range(random, 1, most);
    if (i > 0 && test_random_chance(random, p->shared_percent)) {
        const client_case *other = &cases[test_random_range(random, i > 8 ? i - 8 : 0, i - 1)];
        from = other->request.n_prompt + other->n_expected;
        if (from > r->n_prompt) from = r->n_prompt;
        memcpy(c->ids, other->ids, (size_t)from * sizeof *c->ids);
    }
    for (int k = from; k < r->n_prompt; k++) c->ids[k] = test_random_range(random, 0, p->vocab - 1);
    r->prompt = c->ids;
    r->max_tokens = test_random_chance(random, 10) ? 0 : test_random_range(random, 1, p->most_tokens);
    make_sampling(r, random, p->vocab);
    r->n_stop_ids = test_random_range(random, 0, 3);
    for (int k = 0; k < r->n_stop_ids; k++) r->stop_ids[k] = test_random_range(random, 0, p->vocab + 5);
    r->ignore_stop = test_random_chance(random, 20);
    r->top_logprobs = test_random_chance(random, 30) ? test_random_range(random, 0, 5) : -1;
    r->prompt_logprobs = test_random_chance(random, p->score_percent) ? test_random_range(random, 0, 5) : -1;
    r->priority = test_random_range(random, 1, p->levels);
    r->user = c;
    c->cancel_after = test_random_chance(random, p->cancel_percent) ? test_random_range(random, 0, 10) : -1;
    if (p->constrain_percent && test_random_chance(random, p->constrain_percent)) constrain(c, p->vocab);
    answer(c, p);
}

void client_case_free(client_case *c) { free(c->constraint); }

/* ---- checking --------------------------------------------------------------------------------------------------- */

/* Keeps the first problem; false, for the caller to return. */
__attribute__((format(printf, 2, 3))) static bool wrong(client *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!*c->problem) vsnprintf(c->problem, sizeof c->problem, format, args);
    va_end(args);
    return false;
}

static bool check_logprobs(client *c, const client_case *k, const ops_token *token, int position, int top, bool score)
{
    const fake_history none = {0, 0};
    if (top < 0) return token->logprob == 0 && token->n_top == 0 ? true : wrong(c, "case %d: log-probabilities nobody asked for", (int)(k - c->cases));
    ops_token want = fake_draw_token(k->values[position - 1], &k->request.sampling, &none, 1 << 30, position, token->id, top, 0, NULL);
    bool same = want.logprob == token->logprob && want.rank == token->rank && want.n_top == token->n_top;
    return same ? true : wrong(c, "case %d: wrong %s log-probability at %d", (int)(k - c->cases), score ? "prompt" : "token", position);
}

static bool check_finish(client *c, client_case *k, const engine_event *e)
{
    int index = (int)(k - c->cases);
    k->n_finished++;
    k->end = *e;
    if (e->n_prompt != k->request.n_prompt || e->n_generated != k->n_seen) return wrong(c, "case %d: FINISH counts %d + %d tokens", index, e->n_prompt, e->n_generated);
    if (e->n_cached < 0 || e->n_cached >= e->n_prompt) return wrong(c, "case %d: %d of %d prompt tokens cached", index, e->n_cached, e->n_prompt);
    if (!(e->submitted > 0 && e->finished >= e->submitted) || (e->scheduled > 0 && e->scheduled < e->submitted) ||
        (k->n_seen > 0 && !(e->first_token >= e->scheduled && e->scheduled > 0)))
        return wrong(c, "case %d: times %f %f %f %f", index, e->submitted, e->scheduled, e->first_token, e->finished);
    if (e->finish == ENGINE_FINISH_CANCELLED && (k->cancel_after >= 0 || !c->same_finish)) return true;
    if (!c->same_finish && e->finish == ENGINE_FINISH_ERROR) return true;
    if (e->finish != k->finish || e->stop_id != k->stop_id || k->n_seen != k->n_expected)
        return wrong(c, "case %d: finish %d (%d) after %d tokens; expected %d (%d) after %d", index, e->finish, e->stop_id, k->n_seen, k->finish,
                     k->stop_id, k->n_expected);
    if (k->request.prompt_logprobs >= 0 && k->n_scored != k->request.n_prompt - 1) return wrong(c, "case %d: %d prompt tokens scored", index, k->n_scored);
    return true;
}

bool client_check(client *c, const engine_event *e)
{
    client_case *k = e->user;
    int index = (int)(k - c->cases), position;
    if (e->request != k->id || k->n_finished) return wrong(c, "case %d: event %d after its end, or of another request", index, e->kind);
    switch (e->kind) {
    case ENGINE_EVENT_PROMPT:
        position = ++k->n_scored;
        if (k->n_seen || position >= k->request.n_prompt || e->token.id != k->ids[position]) return wrong(c, "case %d: prompt token %d scored", index, position);
        return check_logprobs(c, k, &e->token, position, k->request.prompt_logprobs, true);
    case ENGINE_EVENT_TOKEN:
        position = k->request.n_prompt + k->n_seen++;
        if (k->n_seen > k->n_expected || e->token.id != k->ids[position])
            return wrong(c, "case %d: token %d of %d is %d, expected %d", index, k->n_seen, k->n_expected, e->token.id, k->ids[position]);
        return check_logprobs(c, k, &e->token, position, k->request.top_logprobs, false);
    case ENGINE_EVENT_FINISH: return check_finish(c, k, e);
    }
    return wrong(c, "case %d: event of kind %d", index, e->kind);
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

int client_poll(engine *e, engine_event *out, int max, double seconds)
{
    struct pollfd wait = {.fd = engine_event_fd(e), .events = POLLIN};
    if (poll(&wait, 1, (int)(seconds * 1000)) <= 0) return 0;
    return engine_poll(e, out, max);
}

/* Takes events; gives how many requests ended, or -1 after a problem. */
static int take_events(client *c, double seconds)
{
    engine_event events[7];
    int ended = 0, n = client_poll(c->engine, events, 7, seconds);
    for (int i = 0; i < n; i++) {
        client_case *k = events[i].user;
        if (!client_check(c, &events[i])) return -1;
        if (events[i].kind == ENGINE_EVENT_FINISH) ended++;
        else if (k->cancel_after >= 0 && k->n_seen >= k->cancel_after) engine_cancel(c->engine, k->id);
    }
    return n > 0 || seconds == 0 || wrong(c, "no event came in %g s", seconds) ? ended : -1;
}

static void submit_next(client *c)
{
    client_case *k = &c->cases[c->submitted++];
    status_detail detail;
    if (engine_submit(c->engine, &k->request, &k->id, &detail) != STATUS_OK) wrong(c, "case %d refused: %.400s", c->submitted - 1, detail.text);
    if (k->cancel_after == 0) engine_cancel(c->engine, k->id);
}

static void *run(void *user)
{
    client *c = user;
    test_random random = {c->seed};
    int ended = 0;
    while (ended < c->n_cases && !*c->problem) {
        bool may = c->submitted < c->n_cases && c->submitted - ended < c->most_open;
        if (may) submit_next(c);
        if (may && c->pause_us) usleep((useconds_t)test_random_range(&random, 0, c->pause_us));
        int n = take_events(c, may ? 0 : 20);
        ended += n > 0 ? n : 0;
    }
    engine_shutdown(c->engine, *c->problem ? 0 : 30);
    return NULL;
}

void client_start(client *c)
{
    while (c->submitted < c->n_cases && c->submitted < c->most_open && !*c->problem) submit_next(c);
    pthread_create(&c->thread, NULL, run, c);
}

void client_join(client *c) { pthread_join(c->thread, NULL); }
