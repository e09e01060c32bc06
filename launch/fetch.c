/* gptoss-tp fetch: brings a checkpoint from a hub. */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "launch/arguments.h"
#include "launch/main.h"
#include "launch/progress.h"
#include "launch/verb.h"
#include "runtime/base/bytes.h"
#include "runtime/base/log.h"
#include "runtime/fetch/fetch.h"

enum { CONNECTIONS = 8, PART_BYTES = 64 << 20, RETRIES = 10 };

typedef struct fetch_state {
    sigset_t signals; /* blocked everywhere, and asked for here: no handler, so nothing global */
    int caught;       /* 0: none */
    progress progress;
} fetch_state;

static bool cancelled(void *user)
{
    fetch_state *state = user;
    int number = state->caught ? 0 : sigtimedwait(&state->signals, NULL, &(struct timespec){0});
    if (number > 0) state->caught = number;
    return state->caught != 0;
}

static void show(void *user, int64_t done, int64_t total)
{
    fetch_state *state = user;
    progress_show(&state->progress, done, total);
}

static void note(void *user, const char *line)
{
    fetch_state *state = user;
    progress_pause(&state->progress);
    log_warn("%s", line);
}

static status fetch_verb_run(int argc, char **argv, verb_failure *failure)
{
    status_detail *detail = &failure->detail;
    fetch_options options = {0};
    int64_t connections = CONNECTIONS, part_bytes = PART_BYTES, retries = RETRIES;
    const argument own[] = {
        {.flag = "--to", .type = ARGUMENT_TEXT, .to = &options.to},
        {.flag = "--revision", .type = ARGUMENT_TEXT, .to = &options.revision},
        {.flag = "--source", .type = ARGUMENT_TEXT, .to = &options.source},
        {.flag = "--original", .type = ARGUMENT_SWITCH, .to = &options.original},
        {.flag = "--connections", .type = ARGUMENT_INT, .to = &connections, .least = 1, .most = FETCH_MOST_CONNECTIONS},
        {.flag = "--part-size", .type = ARGUMENT_BYTES, .to = &part_bytes},
        {.flag = "--retries", .type = ARGUMENT_INT, .to = &retries, .least = 0, .most = 1000},
    };
    arguments a = {.flags = own, .n_flags = sizeof own / sizeof *own, .positional_name = "ORG/NAME", .positional = &options.repository};
    STATUS_TRY(arguments_parse(&a, argc, argv, detail));
    if (!options.repository) return status_fail(detail, STATUS_USAGE, "ORG/NAME is missing: gptoss-tp fetch openai/gpt-oss-20b");
    if (part_bytes < 1) return status_fail(detail, STATUS_USAGE, "--part-size: found 0, allowed is 1 byte or more");
    options.connections = (int)connections;
    options.part_bytes = part_bytes;
    options.retries = (int)retries;

    fetch_state state = {.progress = {.what = options.repository}};
    fetch_result result;
    char size[32];
    sigemptyset(&state.signals);
    sigaddset(&state.signals, SIGINT);
    sigaddset(&state.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &state.signals, NULL);
    options.events = (fetch_events){.user = &state, .cancelled = cancelled, .progress = show, .note = note};
    status ended = fetch_run(&options, &result, detail);
    progress_pause(&state.progress);
    if (ended != STATUS_OK && result.cancelled) {
        log_error("interrupted; what is here stays, and the same command goes on from there");
        main_leave(128 + state.caught); /* as shells report a process that a signal ended */
    }
    if (ended != STATUS_OK) return ended;
    log_info("%d files, %s, checked; model.path: %s", result.files, bytes_format(result.bytes, size),
             result.by_name ? options.repository : result.dir);
    printf("%s\n", result.dir);
    return STATUS_OK;
}

const verb verb_fetch = {
    .name = "fetch",
    .synopsis = "ORG/NAME [--to DIR] [--revision R] [--source huggingface|modelscope] [--original]",
    .summary = "downloads a checkpoint: parallel, resumable, checksums verified; prints the folder",
    .flags = "  --to DIR          plain files in DIR; default: the Hugging Face cache, where model.path: ORG/NAME finds them\n"
             "  --revision R      a branch, tag or commit; default: the hub's default branch\n"
             "  --source S        huggingface (default) or modelscope, where openai's models are openai-mirror's\n"
             "  --original        OpenAI's own layout, the folder original/, instead of the Hugging Face one\n"
             "  --connections N   at once; default 8\n"
             "  --part-size B     of one request; default 64MiB\n"
             "  --retries N       tries without a byte in between before giving up; default 10\n"
             "\nEnvironment: HF_ENDPOINT (a mirror), HF_TOKEN or the token file of huggingface_hub, HF_HOME and HF_HUB_CACHE (where the cache\n"
             "lies); MODELSCOPE_ENDPOINT, MODELSCOPE_API_TOKEN; https_proxy. Interrupted, the same command goes on from what is there.\n",
    .alone = true,
    .run = fetch_verb_run,
};
