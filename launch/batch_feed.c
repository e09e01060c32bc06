#include "launch/batch_feed.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "launch/batch_input.h"
#include "launch/batch_posts.h"
#include "launch/progress.h"
#include "runtime/base/log.h"

enum {
    LINES_A_TURN = 1000, /* before answers get their turn */
    MOST_TRIES = 5,      /* of a request that the server fails at; one that finds no room is not counted */
    TURN_MS = 200,       /* how late the end of the engine may be noticed */
};
static const double FIRST_DELAY = 0.25, LONGEST_DELAY = 8, SYNC_EVERY = 5; /* seconds */

struct batch_feed {
    batch_feed_options options;
    pthread_t thread;
    batch_posts posts;
    batch_input input;
    uint64_t run;          /* random, so that ids of two runs differ */
    int64_t n_read;        /* lines of the input that are dealt with or on their way */
    int64_t n_dropped;     /* of them left to another run */
    bool input_ended;
    double synced_at, began;
    progress progress;
    json_writer text;
    batch_tally tally;
    status result;
    status_detail detail;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The engine takes no more requests, whatever the reason. */
static bool is_ending(const batch_feed *f)
{
    engine_stats stats;
    engine_get_stats(f->options.engine, &stats);
    return stats.draining || !stats.alive;
}

static status no_memory(batch_feed *f)
{
    return status_fail(&f->detail, STATUS_MACHINE, "out of memory; the same command goes on from what is there");
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static status write_text(batch_feed *f, batch_output *to, int64_t *counted)
{
    if (f->text.failed) return no_memory(f);
    STATUS_TRY(batch_output_add(to, f->text.text.data, f->text.text.size, &f->detail));
    ++*counted;
    return STATUS_OK;
}

static status write_error(batch_feed *f, const batch_post *p, int http, bool has_body, const batch_fault *fault)
{
    json_write_clear(&f->text);
    batch_line_write_error(&f->text, p->id, &p->request.custom_id, p->line, http, p->answer.data, has_body ? p->answer.size : 0, fault);
    return write_text(f, f->options.errors, &f->tally.failed);
}

static status write_answer(batch_feed *f, const batch_post *p, int http, const batch_answer *answer)
{
    json_write_clear(&f->text);
    batch_line_write_answer(&f->text, p->id, &p->request.custom_id, http, p->answer.data, p->answer.size);
    STATUS_TRY(write_text(f, f->options.answers, &f->tally.answered));
    f->tally.prompt_tokens += answer->prompt_tokens;
    f->tally.completion_tokens += answer->completion_tokens;
    return STATUS_OK;
}

static status sync_files(batch_feed *f)
{
    f->synced_at = now();
    STATUS_TRY(batch_output_sync(f->options.answers, &f->detail));
    return batch_output_sync(f->options.errors, &f->detail);
}

/* ---- lines in --------------------------------------------------------------------------------------------------- */

/* Whether this run shall deal with the line; a custom_id for the second time becomes a fault. */
static batch_ids_met meet(batch_feed *f, const batch_post *p, status *read, batch_fault *fault)
{
    batch_ids *ids = f->options.ids;
    const buffer *name = &p->request.custom_id;
    kv_hash number = batch_ids_number(ids, p->line);
    batch_ids_met met = batch_ids_meet(ids, name->data ? batch_ids_name(ids, name->data, name->size) : number);
    if (met != BATCH_IDS_AGAIN || !name->data) return met;
    *read = batch_fault_set(fault, BATCH_LINE_DUPLICATE, "An earlier line has the same custom_id.");
    return batch_ids_meet(ids, number);
}

static status take_line(batch_feed *f, batch_post *p, batch_input_found found, char *line, size_t size)
{
    batch_fault fault;
    status read;
    p->line = f->input.line;
    snprintf(p->id, sizeof p->id, "%016" PRIx64 "%016" PRIx64, f->run, (uint64_t)p->line);
    if (found == BATCH_INPUT_LONG) {
        batch_request_clear(&p->request);
        read = batch_fault_set(&fault, "line_too_long",
                               "The line is longer than %zu bytes; server.max_body says how long a body may be.", f->input.limit);
    } else {
        read = batch_line_read(line, size, &p->request, &fault);
    }
    if (read == STATUS_MACHINE) return no_memory(f);
    batch_ids_met met = meet(f, p, &read, &fault);
    if (met == BATCH_IDS_NO_MEMORY) return no_memory(f);
    f->n_read++;
    if (met != BATCH_IDS_NEW) return f->tally.skipped++, STATUS_OK;
    if (read != STATUS_OK) return write_error(f, p, 0, false, &fault);
    return batch_posts_send(&f->posts, p) ? STATUS_OK : no_memory(f);
}

/* Fills the free places. *waits: the input has nothing now; *more: it may have. */
static status take_lines(batch_feed *f, bool *waits, bool *more)
{
    batch_post *p = NULL;
    for (int i = 0; i < LINES_A_TURN && !f->input_ended && (p = batch_posts_free_one(&f->posts)); i++) {
        char *line;
        size_t size;
        batch_input_found found = batch_input_next(&f->input, &line, &size);
        if (found == BATCH_INPUT_FAILED) return status_fail(&f->detail, STATUS_MACHINE, "cannot read the input: %s", strerror(errno));
        if (found == BATCH_INPUT_WAIT) return *waits = true, STATUS_OK;
        if (found == BATCH_INPUT_END) f->input_ended = true;
        else STATUS_TRY(take_line(f, p, found, line, size));
    }
    *more = !f->input_ended && p;
    return STATUS_OK;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static double delay_of(const batch_post *p)
{
    double delay = FIRST_DELAY * (double)(1 << (p->tries < 6 ? p->tries : 6));
    return delay < LONGEST_DELAY ? delay : LONGEST_DELAY;
}

static void leave_to_another_run(batch_feed *f, batch_post *p)
{
    f->n_dropped++;
    batch_posts_drop(&f->posts, p);
}

static status settle(batch_feed *f, batch_post *p, int http)
{
    batch_fault fault;
    batch_answer answer = batch_answer_read(http, p->answer.data, p->answer.size, &fault);
    status result;
    if (http == 0) {
        batch_fault_set(&fault, "no_answer", "The server gave no answer in %d tries: %s.", p->tries + 1, curl_easy_strerror(p->result));
        result = write_error(f, p, 0, false, &fault);
    } else if (http < 200 || http > 299 || !answer.good) {
        result = write_error(f, p, http, answer.good, &fault);
    } else {
        result = write_answer(f, p, http, &answer);
    }
    batch_posts_drop(&f->posts, p);
    return result;
}

static status came_back(batch_feed *f, batch_post *p, int http)
{
    bool full = http == 429, failed = http == 0 || http >= 500;
    if (p->no_memory) return no_memory(f);
    if ((full || failed) && is_ending(f)) {
        leave_to_another_run(f, p);
    } else if (full || (failed && p->tries + 1 < MOST_TRIES)) {
        batch_posts_wait(&f->posts, p, now() + (full ? 2 * FIRST_DELAY : delay_of(p)));
        p->tries += failed;
    } else {
        return settle(f, p, http);
    }
    return STATUS_OK;
}

static status take_answers(batch_feed *f)
{
    int http = 0;
    for (batch_post *p; (p = batch_posts_back(&f->posts, &http));) STATUS_TRY(came_back(f, p, http));
    return STATUS_OK;
}

/* Those whose time has come are sent again, or none is when the engine ends. Returns the seconds until the next. */
static status send_again(batch_feed *f, bool ending, double *next)
{
    double t = now();
    for (int i = 0; f->posts.n_waiting > 0 && i < f->posts.n; i++) {
        batch_post *p = &f->posts.posts[i];
        if (p->state != BATCH_POST_WAITING) continue;
        if (ending) leave_to_another_run(f, p);
        else if (p->again_at <= t && !batch_posts_send(&f->posts, p)) return no_memory(f);
        else if (p->state == BATCH_POST_WAITING && p->again_at - t < *next) *next = p->again_at - t;
    }
    return STATUS_OK;
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static void show(batch_feed *f)
{
    int64_t done = f->options.n_before + f->tally.answered + f->tally.failed;
    int64_t total = f->options.n_lines ? f->options.n_lines : f->options.n_before + f->n_read - f->tally.skipped + !f->input_ended;
    double seconds = now() - f->began;
    if (seconds > 0) snprintf(f->progress.also, sizeof f->progress.also, ", %.0f tokens/s", (double)f->tally.completion_tokens / seconds);
    progress_show(&f->progress, done < total ? done : total, total);
}

/* *done: nothing is left that this run could do. */
static status turn(batch_feed *f, bool *done)
{
    bool waits = false, more = false, ending = is_ending(f);
    double next = TURN_MS / 1e3;
    if (!ending) STATUS_TRY(take_lines(f, &waits, &more));
    STATUS_TRY(send_again(f, ending, &next));
    STATUS_TRY(take_answers(f));
    if (now() - f->synced_at > SYNC_EVERY) STATUS_TRY(sync_files(f));
    show(f);
    *done = f->posts.n_busy == 0 && (f->input_ended || ending);
    more |= !f->input_ended && !waits && f->posts.n_busy < f->posts.n;
    if (*done || (more && !ending)) return STATUS_OK;
    struct curl_waitfd input = {.fd = f->options.input, .events = CURL_WAIT_POLLIN};
    CURLMcode polled = curl_multi_poll(f->posts.multi, &input, waits, (int)(next * 1e3) + 1, NULL);
    return polled == CURLM_OK ? STATUS_OK : status_fail(&f->detail, STATUS_MACHINE, "cannot wait for answers: %s", curl_multi_strerror(polled));
}

static void *run(void *user)
{
    batch_feed *f = user;
    bool done = false;
    f->synced_at = f->began = now();
    show(f);
    while (f->result == STATUS_OK && !done) f->result = turn(f, &done);
    f->tally.complete = f->result == STATUS_OK && f->input_ended && f->n_dropped == 0;
    f->tally.seconds = now() - f->began;
    progress_pause(&f->progress);
    if (f->result == STATUS_OK) f->result = sync_files(f);
    batch_posts_close(&f->posts); /* what still flies after a fault is hung up, which frees its sequences */
    engine_shutdown(f->options.engine, 0);
    return NULL;
}

status batch_feed_start(const batch_feed_options *options, batch_feed **out, status_detail *detail)
{
    batch_feed *f = calloc(1, sizeof *f);
    if (!f) return status_fail(detail, STATUS_MACHINE, "out of memory");
    f->options = *options;
    f->input = (batch_input){.fd = options->input, .limit = options->max_line};
    f->progress = (progress){.what = "batch", .unit = "requests"};
    if (getrandom(&f->run, sizeof f->run, 0) != sizeof f->run) f->run = (uint64_t)time(NULL);
    status result = batch_posts_open(options->port, options->api_key, options->in_flight, &f->posts, detail);
    if (result == STATUS_OK) {
        int error = pthread_create(&f->thread, NULL, run, f);
        if (!error) return *out = f, STATUS_OK;
        result = status_fail(detail, STATUS_MACHINE, "cannot start a thread: %s", strerror(error));
        batch_posts_close(&f->posts);
    }
    free(f);
    return result;
}

status batch_feed_finish(batch_feed *f, batch_tally *out, status_detail *detail)
{
    pthread_join(f->thread, NULL);
    status result = f->result;
    *out = f->tally;
    if (result != STATUS_OK) *detail = f->detail;
    batch_input_free(&f->input);
    json_write_free(&f->text);
    free(f);
    return result;
}
