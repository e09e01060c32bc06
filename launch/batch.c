/* gptoss-tp batch: answers a file of requests and ends. The ordinary server answers them, behind a key that only this process knows. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/batch_feed.h"
#include "launch/batch_input.h"
#include "launch/batch_line.h"
#include "launch/progress.h"
#include "launch/serving.h"
#include "runtime/base/log.h"

enum { LINE_BESIDE_BODY = 64 << 10 }; /* bytes that a line may have beside the body */

typedef struct batch {
    const char *input_path, *output_path, *errors_path;
    buffer own_errors_path;
    int input;          /* -1: not open */
    char key[33];
    batch_ids ids;
    batch_output answers, errors;
    int64_t n_lines;    /* 0: not known */
    int64_t n_before;
    batch_feed *feed;
} batch;

static status check_paths(batch *b, status_detail *detail)
{
    if (!b->input_path) return status_fail(detail, STATUS_USAGE, "--input FILE is missing; - reads standard input");
    if (!b->output_path) return status_fail(detail, STATUS_USAGE, "--output FILE is missing");
    if (b->errors_path) return STATUS_OK;
    if (!batch_line_errors_path(b->output_path, &b->own_errors_path)) return status_fail(detail, STATUS_MACHINE, "out of memory");
    b->errors_path = b->own_errors_path.data;
    return STATUS_OK;
}

static size_t longest_line(const settings *s) { return (size_t)s->server.max_body + LINE_BESIDE_BODY; }

/* How many lines there are to do, where that can be known beforehand. */
static status count_lines(batch *b, size_t limit, status_detail *detail)
{
    struct stat info;
    char *line;
    size_t size;
    if (!strcmp(b->input_path, "-") || fstat(b->input, &info) || !S_ISREG(info.st_mode)) return STATUS_OK;
    batch_input in = {.fd = b->input, .limit = limit};
    batch_input_found found;
    int64_t n = 0;
    while ((found = batch_input_next(&in, &line, &size)) != BATCH_INPUT_END && found != BATCH_INPUT_FAILED) n += found != BATCH_INPUT_WAIT;
    batch_input_free(&in);
    if (found == BATCH_INPUT_FAILED || lseek(b->input, 0, SEEK_SET) < 0)
        return status_fail(detail, STATUS_MACHINE, "cannot read %s: %s", b->input_path, strerror(errno));
    b->n_lines = n;
    return STATUS_OK;
}

static status open_input(batch *b, size_t limit, status_detail *detail)
{
    struct stat info;
    bool standard = !strcmp(b->input_path, "-");
    b->input = standard ? STDIN_FILENO : open(b->input_path, O_RDONLY | O_CLOEXEC);
    if (b->input < 0) return status_fail(detail, STATUS_USAGE, "cannot read %s: %s", b->input_path, strerror(errno));
    if (fstat(b->input, &info) || S_ISDIR(info.st_mode))
        return status_fail(detail, STATUS_USAGE, "cannot read %s: allowed is a file or a pipe", b->input_path);
    return count_lines(b, limit, detail);
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static status open_outputs(batch *b, status_detail *detail)
{
    STATUS_TRY(batch_output_open(b->output_path, &b->answers, detail));
    if (same_file(b->input, b->answers.fd))
        return status_fail(detail, STATUS_USAGE, "--output: found the input, %s, allowed is another file", b->output_path);
    if (!strcmp(b->errors_path, b->output_path)) return status_fail(detail, STATUS_USAGE, "--errors: found the output's file, allowed is another");
    STATUS_TRY(batch_output_open(b->errors_path, &b->errors, detail));
    if (same_file(b->input, b->errors.fd))
        return status_fail(detail, STATUS_USAGE, "--errors: found the input, %s, allowed is another file", b->errors_path);
    STATUS_TRY(batch_output_resume(&b->answers, &b->ids, &b->n_before, detail));
    return batch_output_resume(&b->errors, &b->ids, &b->n_before, detail);
}

/* Every request in flight takes a descriptor at each of its ends. */
static void raise_open_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static int in_flight(const serving_view *v)
{
    struct rlimit files;
    int64_t n = 2 * v->settings->engine.max_sequences * v->groups;
    if (n > v->settings->server.max_queue) n = v->settings->server.max_queue;
    if (!getrlimit(RLIMIT_NOFILE, &files) && n > (int64_t)(files.rlim_cur / 4)) n = (int64_t)(files.rlim_cur / 4);
    return n > 1 ? (int)n : 1;
}

/* ---- what serving asks for -------------------------------------------------------------------------------------- */

static status prepare(void *user, const serving_view *view, status_detail *detail)
{
    batch *b = user;
    uint64_t key[2];
    if (getrandom(key, sizeof key, 0) != sizeof key || getrandom(&b->ids.key, sizeof b->ids.key, 0) != sizeof b->ids.key)
        return status_fail(detail, STATUS_MACHINE, "the system gives no random bytes: %s", strerror(errno));
    snprintf(b->key, sizeof b->key, "%016" PRIx64 "%016" PRIx64, key[0], key[1]);
    STATUS_TRY(check_paths(b, detail));
    STATUS_TRY(open_input(b, longest_line(view->settings), detail));
    STATUS_TRY(open_outputs(b, detail));
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return status_fail(detail, STATUS_MACHINE, "libcurl cannot start");
    raise_open_files();
    if (b->n_lines) log_info("%s: %" PRId64 " lines, %" PRId64 " of them done before", b->input_path, b->n_lines, b->n_before);
    else log_info("%s: %" PRId64 " lines were done before", b->input_path, b->n_before);
    return STATUS_OK;
}

static void adjust(void *user, server_options *options)
{
    batch *b = user;
    options->host = "127.0.0.1";
    options->port = 0;
    options->api_key = b->key;
}

static status begin(void *user, const serving_view *view, status_detail *detail)
{
    batch *b = user;
    const batch_feed_options options = {
        .engine = view->engine,
        .port = view->port,
        .api_key = b->key,
        .in_flight = in_flight(view),
        .max_line = longest_line(view->settings),
        .input = b->input,
        .n_lines = b->n_lines,
        .n_before = b->n_before,
        .ids = &b->ids,
        .answers = &b->answers,
        .errors = &b->errors,
    };
    return batch_feed_start(&options, &b->feed, detail);
}

static void summarise(const batch *b, const batch_tally *t)
{
    char seconds[32];
    log_info("batch: %" PRId64 " answered, %" PRId64 " failed, %" PRId64 " done before; %" PRId64 " tokens read, %" PRId64 " written, in %s",
             t->answered, t->failed, t->skipped, t->prompt_tokens, t->completion_tokens, progress_time(t->seconds, seconds));
    if (t->failed) log_info("what failed, and why: %s", b->errors_path);
    int64_t left = b->n_lines - b->n_before - t->answered - t->failed;
    if (!t->complete && b->n_lines) log_warn("%" PRId64 " lines are left; the same command goes on with them", left > 0 ? left : 0);
    else if (!t->complete) log_warn("lines are left; the same command with the same input goes on with them");
}

static status end(void *user, status_detail *detail)
{
    batch *b = user;
    batch_tally tally;
    status result = batch_feed_finish(b->feed, &tally, detail);
    summarise(b, &tally);
    return result;
}

/* ---- the verb --------------------------------------------------------------------------------------------------- */

static status batch_run(int argc, char **argv, verb_failure *failure)
{
    batch b = {.input = -1, .answers.fd = -1, .errors.fd = -1};
    const argument flags[] = {
        {.flag = "--input", .type = ARGUMENT_TEXT, .to = &b.input_path},
        {.flag = "--output", .type = ARGUMENT_TEXT, .to = &b.output_path},
        {.flag = "--errors", .type = ARGUMENT_TEXT, .to = &b.errors_path},
    };
    const serving_verb own = {
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .prepare = prepare,
        .adjust = adjust,
        .begin = begin,
        .end = end,
        .user = &b,
    };
    status result = serving_run(argc, argv, &own, failure);
    batch_output_close(&b.errors, true);
    batch_output_close(&b.answers, result != STATUS_OK);
    if (b.input > STDIN_FILENO) close(b.input);
    batch_ids_free(&b.ids);
    buffer_free(&b.own_errors_path);
    return result;
}

const verb verb_batch = {
    .name = "batch",
    .synopsis = "[CONFIG] --input FILE --output FILE [flags]",
    .summary = "answers a file of requests, as OpenAI's Batch API has them, and ends; goes on where it stopped",
    .flags = "  --input FILE      a request a line: {\"custom_id\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\" or\n"
             "                    \"/v1/completions\", \"body\"}; - reads standard input\n"
             "  --output FILE     an answer a line, in the order they come\n"
             "  --errors FILE     lines that failed, and why; default: OUTPUT with .errors before its extension\n"
             "\nAll ranks start it, as serve. No port is open to others. Started again with the same files, it does only what they do not hold yet.\n"
             "SIGTERM or SIGINT: what is in flight may end within server.drain_seconds, the rest is left to the next start.\n",
    .configured = true,
    .run = batch_run,
};
