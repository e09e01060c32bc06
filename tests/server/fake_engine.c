#include "tests/server/fake_engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_RANKS = 64,
    MAX_AHEAD = 1024, /* events that nobody has fetched: beyond them nothing more is said, so that a server that gets no processor for a while is not buried */
    NO_HOLD = INT32_MAX,
};

typedef struct script {
    int32_t *ids;
    size_t n;
} script;

typedef struct run {
    struct run *next;
    engine_request request; /* prompt is a copy */
    uint64_t id;
    script says;            /* a copy, so that new orders do not reach into what runs */
    int n_given;
    double submitted, first, due; /* monotonic seconds */
    bool cancelled;
    json_t *record;
} run;

struct engine {
    pthread_mutex_t lock;
    pthread_t thread;
    bool stop;
    int fd;
    int max_model_len;
    int32_t vocab;
    script *scripts;
    size_t n_scripts, next_script;
    bool repeat, by_seed, alive, draining;
    double interval;
    int hold;               /* tokens after which a sequence waits, NO_HOLD: none waits */
    int max_queue, running;
    int refused;            /* submissions */
    int n_ranks;
    engine_memory memory[MAX_RANKS]; /* without a device: not known */
    uint64_t random;        /* state of the generator; 0: scripts are followed */
    int ending;             /* percent */
    uint32_t *bits;         /* [ops_mask_words(vocab)] */
    int32_t *allowed;       /* [vocab] */
    uint64_t next_id, prompt_tokens, generated;
    run *runs;
    engine_event *events;
    size_t n_events, first_event, room;
    json_t *records;
    void (*on_step)(void *user, int tokens);
    void *on_step_user;
};

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *checked(void *memory)
{
    if (!memory) abort();
    return memory;
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void push_event(engine *e, engine_event event)
{
    if (e->n_events == e->room) {
        e->room = e->room ? e->room * 2 : 256;
        e->events = checked(realloc(e->events, e->room * sizeof *e->events));
    }
    uint64_t one = 1;
    if (e->n_events++ == e->first_event && write(e->fd, &one, sizeof one) != sizeof one) abort();
    e->events[e->n_events - 1] = event;
}

int engine_event_fd(const engine *e) { return e->fd; }

int engine_poll(engine *e, engine_event *out, int max)
{
    int n = 0;
    pthread_mutex_lock(&e->lock);
    while (n < max && e->first_event < e->n_events) out[n++] = e->events[e->first_event++];
    if (e->first_event == e->n_events) {
        uint64_t count;
        if (read(e->fd, &count, sizeof count) < 0) count = 0;
        e->first_event = e->n_events = 0;
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

/* ---- sequences -------------------------------------------------------------------------------------------------- */

/* Figures that a test can foretell: of the k-th token -0.5 - k / 8; the top begins with the token itself when k is even. */
static ops_token make_token(const engine *e, int32_t id, int k, int top)
{
    ops_token token = {.id = id};
    if (top < 0) return token;
    token.logprob = -0.5f - (float)k / 8;
    token.n_top = top;
    for (int i = 0; i < top; i++) {
        token.top_ids[i] = (id + i + k % 2) % e->vocab;
        token.top_logprobs[i] = token.logprob - (float)i / 4;
    }
    return token;
}

static void finish(engine *e, run *r, engine_finish reason, int32_t stop_id)
{
    double now = now_seconds();
    push_event(e, (engine_event){.kind = ENGINE_EVENT_FINISH, .request = r->id, .user = r->request.user, .finish = reason, .stop_id = stop_id,
                                 .n_prompt = r->request.n_prompt, .n_cached = r->request.n_prompt / 2, .n_generated = r->n_given,
                                 .submitted = r->submitted, .scheduled = r->submitted, .first_token = r->first, .finished = now});
    json_object_set_new(r->record, "generated", json_integer(r->n_given));
    json_object_set_new(r->record, "finish", json_integer(reason));
    for (run **at = &e->runs; *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        break;
    }
    if (r->request.constraint.mask) r->request.constraint.free(r->request.constraint.user);
    free((void *)r->request.prompt);
    free(r->says.ids);
    json_decref(r->record);
    free(r);
    e->running--;
}

/* splitmix64 (Steele et al. 2014) */
static uint64_t next_random(engine *e)
{
    uint64_t z = e->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* What is drawn instead of `id`, which the script wants (-1: its end). A constraint that allows nothing gives id 0, as the backends do. */
static int32_t constrain(engine *e, run *r, int32_t id)
{
    const engine_constraint *c = &r->request.constraint;
    size_t words = ops_mask_words(e->vocab), n = 0;
    memset(e->bits, 0, words * sizeof *e->bits);
    bool limited = c->mask(c->user, e->bits, words);
    bool good = id >= 0 && (!limited || (e->bits[id / 32] >> id % 32 & 1));
    for (int32_t i = 0; limited && i < e->vocab; i++)
        if (e->bits[i / 32] >> i % 32 & 1) e->allowed[n++] = i;
    if (limited && n == 0) json_object_set_new(r->record, "stuck", json_true());
    if (good) {
        c->accept(c->user, id);
        return id;
    }
    if (e->random && limited && n) {
        id = e->allowed[next_random(e) % n];
        for (int i = 0; i < r->request.n_stop_ids && (int)(next_random(e) % 100) < e->ending; i++)
            if (e->bits[r->request.stop_ids[i] / 32] >> r->request.stop_ids[i] % 32 & 1) id = r->request.stop_ids[i];
    } else {
        id = n ? e->allowed[0] : 0;
        json_object_set_new(r->record, "forced", json_integer(json_integer_value(json_object_get(r->record, "forced")) + 1));
    }
    c->accept(c->user, id);
    return id;
}

static bool is_stop(const engine_request *request, int32_t id)
{
    for (int i = 0; i < request->n_stop_ids; i++)
        if (request->stop_ids[i] == id) return true;
    return false;
}

/* Gives one token. False: the run has ended and is gone. */
static bool give(engine *e, run *r)
{
    if (r->cancelled || e->draining) return finish(e, r, ENGINE_FINISH_CANCELLED, -1), false;
    if (!r->n_given && r->request.prompt_logprobs >= 0)
        for (int i = 1; i < r->request.n_prompt; i++)
            push_event(e, (engine_event){.kind = ENGINE_EVENT_PROMPT, .request = r->id, .user = r->request.user,
                                         .token = make_token(e, r->request.prompt[i], i, r->request.prompt_logprobs)});
    if (r->n_given >= r->request.max_tokens) return finish(e, r, ENGINE_FINISH_LENGTH, -1), false;
    size_t at = (size_t)r->n_given;
    if (e->repeat && r->says.n) at %= r->says.n;
    bool random = e->random && r->request.constraint.mask;
    if (at >= r->says.n && !random) return finish(e, r, ENGINE_FINISH_LENGTH, -1), false;
    int32_t id = at < r->says.n ? r->says.ids[at] : -1;
    if (r->request.constraint.mask) id = constrain(e, r, id);
    if (!r->n_given) r->first = now_seconds();
    push_event(e, (engine_event){.kind = ENGINE_EVENT_TOKEN, .request = r->id, .user = r->request.user,
                                 .token = make_token(e, id, r->n_given, r->request.top_logprobs)});
    r->n_given++;
    e->generated++;
    if (is_stop(&r->request, id) && !r->request.ignore_stop) return finish(e, r, ENGINE_FINISH_STOP, id), false;
    return true;
}

static void *tick(void *user)
{
    engine *e = user;
    pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        double now = now_seconds();
        int given = 0;
        bool room = e->n_events - e->first_event < MAX_AHEAD;
        for (run *r = e->runs, *next; r; r = next) {
            next = r->next;
            bool alive = true;
            /* without an interval a tick gives a hundred tokens, so that runs still take turns */
            bool ends = r->cancelled || e->draining;
            for (int i = 0; alive && i < 100 && (ends || (room && r->due <= now && r->n_given < e->hold)); i++) {
                r->due += e->interval;
                given++;
                alive = give(e, r);
            }
        }
        if (given && e->on_step) e->on_step(e->on_step_user, given);
        pthread_mutex_unlock(&e->lock);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static json_t *make_record(const engine_request *q, uint64_t id)
{
    json_t *prompt = json_array(), *stops = json_array();
    for (int i = 0; i < q->n_prompt; i++) json_array_append_new(prompt, json_integer(q->prompt[i]));
    for (int i = 0; i < q->n_stop_ids; i++) json_array_append_new(stops, json_integer(q->stop_ids[i]));
    return checked(json_pack("{s:I s:o s:o s:i s:I s:f s:f s:i s:i s:i s:i s:i s:b s:b}", "id", (json_int_t)id, "prompt", prompt, "stop_ids", stops,
                             "max_tokens", q->max_tokens, "seed", (json_int_t)q->sampling.seed, "temperature", (double)q->sampling.temperature,
                             "top_p", (double)q->sampling.top_p, "top_k", q->sampling.top_k, "min_tokens", q->sampling.min_tokens, "n_bias",
                             q->sampling.n_bias, "top_logprobs", q->top_logprobs, "prompt_logprobs", q->prompt_logprobs, "constrained", q->constraint.mask != NULL, "cancelled", 0));
}

status engine_submit(engine *e, const engine_request *request, uint64_t *id, status_detail *detail)
{
    status result = STATUS_OK;
    pthread_mutex_lock(&e->lock);
    if (e->draining || e->running >= e->max_queue) {
        e->refused++;
        result = status_fail(detail, STATUS_BUSY, "the queue is full (%d requests)", e->max_queue);
    } else if (request->n_prompt < 1 || request->n_prompt > e->max_model_len) {
        result = status_fail(detail, STATUS_INVALID, "a prompt of %d tokens", request->n_prompt);
    } else {
        run *r = checked(calloc(1, sizeof *r));
        r->request = *request;
        size_t size = (size_t)request->n_prompt * sizeof *request->prompt;
        r->request.prompt = memcpy(checked(malloc(size)), request->prompt, size);
        r->id = *id = ++e->next_id;
        r->submitted = r->due = now_seconds();
        r->record = make_record(request, r->id);
        json_array_append(e->records, r->record);
        if (e->n_scripts) {
            const script *says = &e->scripts[e->by_seed ? request->sampling.seed % e->n_scripts : e->next_script];
            if (e->next_script + 1 < e->n_scripts) e->next_script++;
            r->says = (script){checked(malloc(says->n * sizeof *says->ids + 1)), says->n};
            if (says->n) memcpy(r->says.ids, says->ids, says->n * sizeof *says->ids);
        }
        r->next = e->runs;
        e->runs = r;
        e->running++;
        e->prompt_tokens += (uint64_t)request->n_prompt;
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

void engine_cancel(engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (run *r = e->runs; r; r = r->next) {
        if (r->id != id || r->cancelled) continue;
        r->cancelled = true;
        json_object_set_new(r->record, "cancelled", json_true());
    }
    pthread_mutex_unlock(&e->lock);
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

int engine_max_model_len(const engine *e) { return e->max_model_len; }
int64_t engine_kv_tokens(const engine *e) { return e->max_model_len * 4; }

int engine_ranks(const engine *e)
{
    engine *locked = (engine *)e;
    pthread_mutex_lock(&locked->lock);
    int n = e->n_ranks;
    pthread_mutex_unlock(&locked->lock);
    return n;
}

bool engine_get_memory(const engine *e, int rank, engine_memory *out)
{
    engine *locked = (engine *)e;
    pthread_mutex_lock(&locked->lock);
    bool known = rank < e->n_ranks && *e->memory[rank].device;
    if (known) *out = e->memory[rank];
    pthread_mutex_unlock(&locked->lock);
    return known;
}

void engine_get_stats(const engine *e, engine_stats *out)
{
    engine *locked = (engine *)e;
    pthread_mutex_lock(&locked->lock);
    *out = (engine_stats){.running = e->running, .prompt_tokens = e->prompt_tokens,
                           .generated_tokens = e->generated, .alive = e->alive, .draining = e->draining};
    pthread_mutex_unlock(&locked->lock);
}

void engine_on_step(engine *e, void (*fn)(void *user, int tokens), void *user)
{
    pthread_mutex_lock(&e->lock);
    e->on_step = fn;
    e->on_step_user = user;
    pthread_mutex_unlock(&e->lock);
}

/* ---- orders ----------------------------------------------------------------------------------------------------- */

static void free_scripts(engine *e)
{
    for (size_t i = 0; i < e->n_scripts; i++) free(e->scripts[i].ids);
    free(e->scripts);
    e->scripts = NULL;
    e->n_scripts = e->next_script = 0;
}

static void set_scripts(engine *e, const json_t *scripts)
{
    free_scripts(e);
    e->scripts = checked(calloc(json_array_size(scripts) + 1, sizeof *e->scripts));
    for (size_t i = 0; i < json_array_size(scripts); i++) {
        const json_t *ids = json_array_get(scripts, i);
        script *s = &e->scripts[e->n_scripts++];
        s->n = json_array_size(ids);
        s->ids = checked(malloc(s->n * sizeof *s->ids + 1));
        for (size_t k = 0; k < s->n; k++) s->ids[k] = (int32_t)json_integer_value(json_array_get(ids, k));
    }
}

/* null: that rank's is not known. */
static void set_memory(engine *e, const json_t *ranks)
{
    e->n_ranks = 0;
    for (size_t i = 0; i < json_array_size(ranks) && i < MAX_RANKS; i++) {
        json_t *rank = json_array_get(ranks, i);
        const char *device = json_string_value(json_object_get(rank, "device"));
        engine_memory *m = &e->memory[e->n_ranks++];
        *m = (engine_memory){.used = json_integer_value(json_object_get(rank, "used")), .total = json_integer_value(json_object_get(rank, "total")),
                             .weights = json_integer_value(json_object_get(rank, "weights")),
                             .kv_cache = json_integer_value(json_object_get(rank, "kv_cache"))};
        snprintf(m->device, sizeof m->device, "%s", device ? device : "");
    }
}

void fake_engine_set(engine *e, const json_t *orders)
{
    const json_t *value;
    pthread_mutex_lock(&e->lock);
    if ((value = json_object_get(orders, "scripts"))) set_scripts(e, value);
    if ((value = json_object_get(orders, "memory"))) set_memory(e, value);
    if ((value = json_object_get(orders, "repeat"))) e->repeat = json_is_true(value);
    if ((value = json_object_get(orders, "by_seed"))) e->by_seed = json_is_true(value);
    if ((value = json_object_get(orders, "alive"))) e->alive = json_is_true(value);
    if ((value = json_object_get(orders, "draining"))) e->draining = json_is_true(value);
    if ((value = json_object_get(orders, "random"))) e->random = (uint64_t)json_integer_value(value);
    if ((value = json_object_get(orders, "ending"))) e->ending = (int)json_integer_value(value);
    if ((value = json_object_get(orders, "interval_ms"))) e->interval = json_number_value(value) * 1e-3;
    if ((value = json_object_get(orders, "hold"))) e->hold = json_is_integer(value) ? (int)json_integer_value(value) : NO_HOLD;
    if ((value = json_object_get(orders, "max_queue"))) e->max_queue = (int)json_integer_value(value);
    pthread_mutex_unlock(&e->lock);
}

json_t *fake_engine_report(engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (const run *r = e->runs; r; r = r->next) json_object_set_new(r->record, "generated", json_integer(r->n_given));
    json_t *report = json_pack("{s:o s:i s:i}", "submitted", json_deep_copy(e->records), "running", e->running, "refused", e->refused);
    pthread_mutex_unlock(&e->lock);
    return report;
}

void fake_engine_forget(engine *e)
{
    pthread_mutex_lock(&e->lock);
    json_array_clear(e->records);
    e->refused = 0;
    pthread_mutex_unlock(&e->lock);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

engine *fake_engine_open(int max_model_len, int32_t vocab)
{
    engine *e = checked(calloc(1, sizeof *e));
    e->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->max_model_len = max_model_len;
    e->vocab = vocab;
    e->alive = true;
    e->n_ranks = 1;
    e->max_queue = 1024;
    e->hold = NO_HOLD;
    e->records = json_array();
    e->bits = checked(calloc(ops_mask_words(vocab), sizeof *e->bits));
    e->allowed = checked(calloc((size_t)vocab, sizeof *e->allowed));
    pthread_mutex_init(&e->lock, NULL);
    if (e->fd < 0 || pthread_create(&e->thread, NULL, tick, e)) abort();
    return e;
}

void fake_engine_close(engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    while (e->runs) finish(e, e->runs, ENGINE_FINISH_CANCELLED, -1);
    free_scripts(e);
    json_decref(e->records);
    free(e->events);
    free(e->bits);
    free(e->allowed);
    pthread_mutex_destroy(&e->lock);
    close(e->fd);
    free(e);
}
