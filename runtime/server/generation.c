#include "runtime/server/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "runtime/server/constraint.h"
#include "runtime/server/logprobs.h"

/* Sequences of one call that may be in the engine at the same time; the rest follow as these finish, so that a call with thousands of
 * prompts neither fills the queue nor keeps others from getting in between. */
enum { MAX_IN_FLIGHT = 256 };

static double monotonic_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void random_bytes(void *out, size_t size)
{
    /* never short for up to 256 bytes, and never fails once the kernel's pool is ready (getrandom(2)) */
    if (getrandom(out, size, 0) != (ssize_t)size) memset(out, 0x5a, size);
}

void generation_random_hex(char *out, int digits)
{
    unsigned char bytes[32];
    random_bytes(bytes, sizeof bytes);
    for (int i = 0; i < digits; i++) out[i] = "0123456789abcdef"[(bytes[(i / 2) % 32] >> (i % 2 * 4)) & 15];
    out[digits] = '\0';
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void free_generation(generation *g)
{
    for (int i = 0; g->sequences && i < g->n_sequences; i++) {
        if (!g->sequences[i]) continue;
        g->entries->close_sequence(g->sequences[i]);
        json_write_free(&g->sequences[i]->prompt_logprobs);
        free(g->sequences[i]);
    }
    free(g->sequences);
    for (int i = 0; i < g->n_prompts; i++) id_list_free(&g->prompts[i]);
    free(g->prompts);
    constraint_release(g->constraint);
    sampling_params_free(&g->params);
    g->entries->close(g);
    json_write_free(&g->out);
    if (g->server) g->server->generations--;
    free(g);
}

static void cancel_all(generation *g)
{
    for (int i = 0; i < g->n_submitted; i++)
        if (g->sequences[i]->live) engine_cancel(g->server->engine, g->sequences[i]->id);
}

static void leave_waiting(generation *g)
{
    generation **link = &g->server->waiting;
    while (*link && *link != g) link = &(*link)->next_waiting;
    if (*link) *link = g->next_waiting;
    g->waits = false;
}

static bool wanted(const generation *g) { return g->exchange || g->keep; }

static void client_gone(void *user)
{
    generation *g = user;
    g->exchange = NULL;
    if (g->keep) return;
    cancel_all(g);
    if (!g->waits) return; /* its last FINISH frees it */
    leave_waiting(g);
    free_generation(g);
}

void generation_fail(generation *g, const api_error *error)
{
    if (!wanted(g)) return;
    cancel_all(g);
    bool streaming = g->params.stream && g->n_submitted;
    json_write_clear(&g->out);
    if (g->entries->failed && (streaming || g->keep)) {
        g->entries->failed(g, error);
    } else if (streaming) {
        json_write_raw(&g->out, "data: ");
        api_error_write(&g->out, error);
        json_write_raw(&g->out, "\n\n");
        generation_end_stream(g);
    } else {
        http_exchange *x = g->exchange;
        g->exchange = NULL;
        routes_reply_error(x, error);
    }
    g->keep = false;
}

void generation_cancel(generation *g)
{
    cancel_all(g);
    g->keep = false;
    if (g->exchange) generation_close_stream(g);
}

/* ---- submission ------------------------------------------------------------------------------------------------- */

bool generation_check_prompt(const server *s, size_t n_prompt, const sampling_params *params, const char *field, api_error *error)
{
    size_t limit = (size_t)s->limits.max_model_len;
    if (n_prompt < limit || (n_prompt == limit && params->max_tokens == 0))
        return sampling_params_check_length(params, (int64_t)(limit - n_prompt), error);
    return api_error_set(error, 400, field,
                         "This model's maximum context length is %zu tokens. However, your request has %zu input tokens. Please reduce the "
                         "length of the %s.",
                         limit, n_prompt, field);
}

static void add_stop_id(engine_request *r, int32_t id)
{
    for (int i = 0; i < r->n_stop_ids; i++)
        if (r->stop_ids[i] == id) return;
    r->stop_ids[r->n_stop_ids++] = id;
}

static int max_tokens_of(const generation *g, const id_list *prompt)
{
    int64_t room = g->server->limits.max_model_len - (int64_t)prompt->count, asked = g->params.max_tokens;
    return (int)(asked < 0 || asked > room ? room : asked);
}

static status submit(generation *g, sequence *q, status_detail *detail)
{
    const id_list *prompt = &g->prompts[q->index / g->params.n];
    engine_request r = {.prompt = prompt->ids, .n_prompt = (int)prompt->count, .sampling = g->params.sampling, .user = q};
    r.max_tokens = max_tokens_of(g, prompt);
    r.sampling.seed = g->seed + (uint64_t)(q->index % g->params.n);
    r.top_logprobs = g->top_logprobs;
    r.prompt_logprobs = g->prompt_logprobs > g->params.prompt_logprobs ? g->prompt_logprobs : g->params.prompt_logprobs;
    r.priority = g->params.priority;
    for (int i = 0; i < g->params.n_stop_ids; i++) add_stop_id(&r, g->params.stop_ids[i]);
    for (int i = 0; !g->params.ignore_eos && i < g->server->n_stop_ids; i++) add_stop_id(&r, g->server->stop_ids[i]);
    if (g->constraint) {
        if (!constraint_open(g->constraint, &r.constraint)) return status_fail(detail, STATUS_INTERNAL, "no memory for a constrained answer");
        r.sampling.min_tokens = 0; /* the constraint sees to it: what must end may end before */
    }
    status result = engine_submit(g->server->engine, &r, &q->id, detail);
    if (result != STATUS_OK) {
        if (r.constraint.mask) r.constraint.free(r.constraint.user);
        return result;
    }
    q->live = true;
    g->n_live++;
    return STATUS_OK;
}

/* Behind those that wait longer. */
static void enter_waiting(generation *g)
{
    generation **link = &g->server->waiting;
    while (*link) link = &(*link)->next_waiting;
    *link = g;
    g->waits = true;
    g->next_waiting = NULL;
    event_add(g->server->retry_timer, &(struct timeval){.tv_usec = 20000});
}

/* Submits what may be submitted now. A full queue refuses a call only before it has begun: what others take of the queue later must not
 * cost it what it has already got. */
static bool pump(generation *g, api_error *error)
{
    status_detail detail = {""};
    while (g->n_submitted < g->n_sequences && g->n_live < MAX_IN_FLIGHT) {
        status result = submit(g, g->sequences[g->n_submitted], &detail);
        if (result == STATUS_BUSY && g->n_live) return true;
        engine_stats stats;
        engine_get_stats(g->server->engine, &stats);
        if (result == STATUS_BUSY && stats.draining) return api_error_set(error, 503, NULL, "The server is shutting down.");
        if (result == STATUS_BUSY && stats.alive && g->n_submitted) {
            enter_waiting(g);
            return true;
        }
        if (result != STATUS_OK) return api_error_from(error, result, &detail);
        g->n_submitted++;
    }
    return true;
}

void generation_retry(server *s)
{
    generation *list = s->waiting;
    s->waiting = NULL;
    while (list) {
        generation *g = list;
        api_error error;
        list = g->next_waiting;
        g->waits = false;
        if (!pump(g, &error)) generation_fail(g, &error);
        if (!wanted(g) && !g->n_live) free_generation(g);
    }
}

static bool make_sequences(generation *g)
{
    g->n_sequences = g->n_prompts * g->params.n;
    g->sequences = calloc((size_t)g->n_sequences, sizeof *g->sequences);
    for (int i = 0; g->sequences && i < g->n_sequences; i++) {
        sequence *q = calloc(1, g->entries->sequence_size);
        if (!q) return false;
        q->owner = g;
        q->index = i;
        q->stop_string = q->stop_id = -1;
        g->sequences[i] = q;
        if (g->entries->open_sequence && !g->entries->open_sequence(q)) return false;
    }
    return g->sequences != NULL;
}

static bool is_harmless(const char *text, size_t size)
{
    bool good = size > 0 && size <= 128;
    for (size_t i = 0; good && i < size; i++) {
        char c = text[i];
        good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
    }
    return good;
}

/* The client's X-Request-Id, or its request_id, when it is harmless, otherwise a random one. An id that can be asked for later is always random:
 * nobody else's can be taken over. */
static void make_id(generation *g, const http_head *head)
{
    http_slice given = http_head_find(head, "x-request-id");
    if (!is_harmless(given.data, given.size)) given = (http_slice){g->params.request_id, strlen(g->params.request_id)};
    bool good = !g->entries->own_id && is_harmless(given.data, given.size);
    char random[33];
    generation_random_hex(random, 32);
    snprintf(g->id, sizeof g->id, "%s%.*s", g->entries->id_prefix, good ? (int)given.size : 32, good ? given.data : random);
}

void generation_drop(void *prepared) { free_generation(prepared); }

void generation_begin(const route_call *call, void *prepared)
{
    generation *g = prepared;
    api_error error;
    g->server = call->server;
    g->server->generations++;
    g->created = time(NULL);
    g->arrived = monotonic_seconds();
    make_id(g, call->head);
    if (g->params.has_seed) g->seed = g->params.seed;
    else random_bytes(&g->seed, sizeof g->seed);
    bool good = make_sequences(g) ? pump(g, &error) : api_error_set(&error, 500, NULL, "Out of memory.");
    http_exchange_header(call->exchange, "X-Request-Id", g->id + strlen(g->entries->id_prefix));
    if (!good) {
        cancel_all(g);
        g->keep = false;
        routes_reply_error(call->exchange, &error);
        if (!g->n_live) free_generation(g);
        return;
    }
    g->exchange = call->exchange;
    http_exchange_watch(g->exchange, client_gone, g);
    if (g->params.stream) generation_begin_events(g->exchange);
    if (g->entries->begun) g->entries->begun(g);
}

/* ---- the way back ----------------------------------------------------------------------------------------------- */

static bool is_stop_id(const generation *g, int32_t id)
{
    for (int i = 0; i < g->params.n_stop_ids; i++)
        if (g->params.stop_ids[i] == id) return true;
    for (int i = 0; !g->params.ignore_eos && i < g->server->n_stop_ids; i++)
        if (g->server->stop_ids[i] == id) return true;
    return false;
}

void generation_end_sequence(sequence *q, int stop_string)
{
    q->ended = true;
    q->stop_string = stop_string;
    if (q->live) engine_cancel(q->owner->server->engine, q->id);
    else q->finish = ENGINE_FINISH_STOP; /* found in what only the end gave out */
}

static void take_token(sequence *q, const ops_token *token, double now)
{
    generation *g = q->owner;
    metrics *m = &g->server->metrics;
    if (q->n_generated) metrics_observe(m, METRICS_ITL, now - q->last_token);
    else metrics_observe(m, METRICS_TTFT, now - g->arrived);
    q->last_token = now;
    q->n_generated++;
    g->entries->token(q, token, is_stop_id(g, token->id));
}

static void take_prompt_token(sequence *q, const ops_token *token)
{
    generation *g = q->owner;
    logprobs_style style = {g->server->tokenizer, g->params.tokens_as_ids};
    if (g->params.prompt_logprobs >= 0) logprobs_add_prompt(&style, token, g->params.prompt_logprobs, &q->prompt_logprobs);
    if (g->prompt_logprobs < 0) return;
    ops_token wanted = *token;
    if (wanted.n_top > g->prompt_logprobs) wanted.n_top = g->prompt_logprobs;
    g->entries->prompt_token(q, &wanted);
}

static void take_finish(sequence *q, const engine_event *event)
{
    generation *g = q->owner;
    q->live = false;
    q->finished = true;
    g->n_live--;
    g->n_finished++;
    q->finish = q->ended ? ENGINE_FINISH_STOP : event->finish;
    q->stop_id = q->ended ? -1 : event->stop_id;
    q->n_cached = event->n_cached;
    metrics_finish(&g->server->metrics, event, q->finish, max_tokens_of(g, &g->prompts[q->index / g->params.n]), g->params.n);
    api_error error;
    if (wanted(g) && q->finish == ENGINE_FINISH_CANCELLED) {
        api_error_set(&error, 503, NULL, "The server is shutting down; the answer was cut off.");
        generation_fail(g, &error);
    } else if (wanted(g) && q->finish == ENGINE_FINISH_ERROR) {
        api_error_set(&error, 500, NULL, "The engine failed; see the server's log.");
        generation_fail(g, &error);
    }
    if (wanted(g)) g->entries->finish(q);
    if (wanted(g) && !pump(g, &error)) generation_fail(g, &error);
    if (wanted(g) && g->n_finished == g->n_sequences) {
        g->entries->done(g);
        g->keep = false;
    }
}

void generation_event(const engine_event *event, double now)
{
    sequence *q = event->user;
    generation *g = q->owner;
    bool read = wanted(g) && !q->ended;
    if (event->kind == ENGINE_EVENT_FINISH) take_finish(q, event);
    else if (read && event->kind == ENGINE_EVENT_PROMPT) take_prompt_token(q, &event->token);
    else if (read) take_token(q, &event->token, now);
    if (!wanted(g) && !g->n_live) free_generation(g);
}
