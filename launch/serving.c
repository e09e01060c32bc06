/* Ranks can fail apart from each other, so after every step that may fail they agree before the next collective one. */
#include "launch/serving.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launch/configuration.h"
#include "launch/job.h"
#include "launch/main.h"
#include "launch/progress.h"
#include "launch/serve_report.h"
#include "launch/serve_text.h"
#include "launch/shutdown.h"
#include "runtime/base/log.h"

/* How long a client that reads slowly may hold up the end, once all its tokens are there. */
enum { SLOW_READER_SECONDS = 5 };
/* How long a load may take before a log hears how far it is. */
enum { QUIET_SECONDS = 5 };

typedef struct serving {
    const serving_verb *verb;
    verb_failure *failure;
    shutdown_watch *signals;
    world *world;
    settings settings;
    char dir[CONFIGURATION_MAX_PATH];
    model_config config;
    int threads;
    progress progress; /* of loading */
    double began;      /* loading, CLOCK_MONOTONIC seconds */
    model *model;
    engine *engine;
    /* rank 0 */
    serve_text *text;
    const tokenizer *tokenizer;
    const harmony *harmony;
    server *server;
} serving;

static status_detail *detail_of(serving *s) { return &s->failure->detail; }

static status agree(serving *s, status mine) { return world_agree(s->world, mine, detail_of(s), &s->failure->speaks); }

static void lost(void *user, int lost_rank, bool speaks)
{
    (void)user;
    if (speaks)
        log_error("rank %d was lost, so the job ends: look for its last words above, or in its host's kernel log if it was killed for memory",
                  lost_rank);
    main_leave(status_exit_code(STATUS_PEER));
}

/* ---- the steps, in order ---------------------------------------------------------------------------------------- */

static status locate(serving *s)
{
    bool dummy = s->settings.model.weights == WEIGHTS_DUMMY;
    STATUS_TRY(configuration_locate(&s->settings, dummy, s->dir, &s->config, detail_of(s)));
    if (s->settings.engine.max_model_len > s->config.max_positions)
        return status_fail(detail_of(s), STATUS_USAGE, "key engine.max_model_len: found %" PRId64 ", allowed is at most the model's limit of %d",
                           s->settings.engine.max_model_len, s->config.max_positions);
    return STATUS_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_loading(void *user, int64_t done, int64_t total)
{
    serving *s = user;
    bool brief = now() - s->began < QUIET_SECONDS && !isatty(STDERR_FILENO); /* a log need not tell what is over at once */
    if (s->progress.started || !brief) progress_show(&s->progress, done, total);
}

static status load(serving *s)
{
    static const char *const backends[] = {"auto", "cuda", "cpu"};
    const settings *o = &s->settings;
    s->progress.what = "loading";
    model_options options = {
        .dir = *s->dir ? s->dir : NULL,
        .config = &s->config,
        .weights = o->model.weights,
        .layout = {o->parallel.attention, o->parallel.experts},
        .backend = backends[o->backend],
        .share_gpu = o->parallel.share_gpu,
        .threads = s->threads,
        .max_tokens = (int)o->engine.max_tokens_per_step,
        .max_sequences = (int)o->engine.max_sequences,
        .max_model_len = o->engine.max_model_len == SETTINGS_AUTO ? 0 : (int)o->engine.max_model_len,
        .progress = world_rank(s->world) == 0 ? show_loading : NULL,
        .user = s,
    };
    STATUS_TRY(model_open(s->world, &options, &s->model, detail_of(s)));
    if (!s->text) return STATUS_OK;
    return serve_text_wait(s->text, s->config.vocab, &s->tokenizer, &s->harmony, detail_of(s));
}

static status open_engine(serving *s)
{
    const settings *o = &s->settings;
    engine_options options = {
        .max_model_len = o->engine.max_model_len == SETTINGS_AUTO ? 0 : (int)o->engine.max_model_len,
        .max_sequences = (int)o->engine.max_sequences,
        .max_tokens_per_step = (int)o->engine.max_tokens_per_step,
        .kv_cache_bytes = o->engine.kv_cache == SETTINGS_AUTO ? 0 : o->engine.kv_cache,
        .prefix_cache = o->engine.prefix_cache,
        .max_queue = (int)o->server.max_queue,
    };
    return engine_open(s->world, s->model, &options, &s->engine, detail_of(s));
}

static status open_server(serving *s)
{
    const settings *o = &s->settings;
    server_options options = {
        .host = o->server.host,
        .port = (int)o->server.port,
        .names = (const char *const *)o->model.names.items,
        .n_names = o->model.names.count,
        .api_keys_file = o->server.api_keys_file,
        .max_body = o->server.max_body,
        .max_responses = o->server.max_responses,
        .eos = s->config.eos,
        .n_eos = s->config.n_eos,
    };
    if (s->verb->adjust) s->verb->adjust(s->verb->user, &options);
    return server_open(&options, s->engine, s->tokenizer, s->harmony, &s->server, detail_of(s));
}

/* Whether a signal came while loading; the same answer on all ranks. */
static status asked_to_leave(serving *s, bool *out)
{
    int64_t go_on = !shutdown_asked(s->signals);
    STATUS_TRY(world_min_i64(s->world, &go_on, detail_of(s)));
    *out = !go_on;
    return STATUS_OK;
}

static status prepare(serving *s)
{
    const serving_view view = {.settings = &s->settings};
    return s->verb->prepare(s->verb->user, &view, detail_of(s));
}

static status start(serving *s, int argc, char **argv, bool *leave)
{
    bool leads = world_rank(s->world) == 0;
    STATUS_TRY(agree(s, configuration_read(argc, argv, s->verb->flags, s->verb->n_flags, &s->settings, detail_of(s))));
    log_configure((log_level)s->settings.log.level, s->settings.log.format == LOG_FORMAT_JSON, world_rank(s->world), world_size(s->world));
    s->threads = s->settings.engine.threads == SETTINGS_AUTO ? job_threads(world_local_size(s->world)) : (int)s->settings.engine.threads;
    STATUS_TRY(agree(s, locate(s)));
    if (s->verb->prepare) STATUS_TRY(agree(s, leads ? prepare(s) : STATUS_OK));
    STATUS_TRY(agree(s, leads ? serve_text_start(s->dir, &s->text, detail_of(s)) : STATUS_OK));

    s->began = now();
    if (leads) log_info("loading %s", *s->dir ? s->dir : s->settings.model.path);
    STATUS_TRY(agree(s, load(s)));
    if (leads) log_info("loaded in %.1f s", now() - s->began);
    STATUS_TRY(asked_to_leave(s, leave));
    if (*leave) return STATUS_OK;
    STATUS_TRY(agree(s, open_engine(s)));
    STATUS_TRY(agree(s, leads ? open_server(s) : STATUS_OK));
    return agree(s, serve_report_ranks(s->world, s->model, s->engine, s->threads, detail_of(s)));
}

/* A step failed here while other ranks may be waiting inside one of its collectives, where no agreement can reach them. Leaving at once ends
 * the job: they notice (lost). A rank that only heard of the failure, or of a dead peer, has nothing to add. */
_Noreturn static void leave_alone(serving *s, status result)
{
    int rank = world_rank(s->world);
    if (rank == 0) log_error("%s", detail_of(s)->text);
    if (rank > 0 && result != STATUS_PEER) log_error("rank %d: %s", rank, detail_of(s)->text);
    main_leave(status_exit_code(result));
}

static status begin(serving *s)
{
    serving_view view = {
        .settings = &s->settings,
        .engine = s->engine,
        .groups = model_get_plan(s->model)->dp,
        .port = server_port(s->server),
    };
    shutdown_serve(s->signals, s->engine, (double)s->settings.server.drain_seconds);
    status result = s->verb->begin ? s->verb->begin(s->verb->user, &view, detail_of(s)) : STATUS_OK;
    if (result != STATUS_OK) shutdown_serve(s->signals, NULL, 0);
    return result;
}

/* After the engine: clients get what is left, and the verb ends. `ran` is how the engine ended, and counts for more than the verb's failure. */
static status end(serving *s, status ran)
{
    status_detail ignored;
    shutdown_serve(s->signals, NULL, 0);
    server_close(s->server, SLOW_READER_SECONDS);
    s->server = NULL;
    status ended = s->verb->end ? s->verb->end(s->verb->user, ran == STATUS_OK ? detail_of(s) : &ignored) : STATUS_OK;
    return ran == STATUS_OK ? ended : ran;
}

static status answer(serving *s)
{
    bool leads = world_rank(s->world) == 0;
    STATUS_TRY(agree(s, leads ? begin(s) : STATUS_OK));
    status ran = engine_run(s->engine, detail_of(s));
    status result = leads ? end(s, ran) : ran;
    if (ran != STATUS_OK && world_size(s->world) > 1) leave_alone(s, ran);
    return ran == STATUS_OK ? agree(s, result) : ran;
}

status serving_run(int argc, char **argv, const serving_verb *own, verb_failure *failure)
{
    serving s = {.verb = own, .failure = failure};
    bool leave = false;
    status result = shutdown_open(&s.signals, &failure->detail);
    if (result != STATUS_OK) return result;
    result = world_open(lost, NULL, &s.world, &failure->detail);
    if (result != STATUS_OK) goto close_signals;
    result = agree(&s, shutdown_attach(s.signals, s.world, &failure->detail));
    if (result == STATUS_OK) result = start(&s, argc, argv, &leave);
    if (result == STATUS_OK && !leave) result = answer(&s);

    if (s.server) server_close(s.server, 0);
    engine_close(s.engine);
    serve_text_close(s.text);
    model_close(s.model);
    settings_free(&s.settings);
    shutdown_detach(s.signals);
    world_close(s.world);
close_signals:
    shutdown_close(s.signals);
    return result;
}
