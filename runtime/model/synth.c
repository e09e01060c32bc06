#include "runtime/model/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/model/distribution.h"
#include "runtime/model/model_file.h"
#include "runtime/model/synth_config.h"
#include "runtime/model/synth_plan.h"
#include "runtime/model/synth_random.h"

enum { CHUNK = 4 << 20, REPORT_EVERY = 64 << 20 };

/* ---- shapes and special tokens ---------------------------------------------------------------------------------- */

/* The special tokens of o200k_harmony, by their place behind the ordinary ones; the others are reserved. Source:
 * openai/gpt-oss `gpt_oss/tokenizer.py`. */
enum { STARTOFTEXT = 0, ENDOFTEXT = 1, RETURN = 4, CALL = 14, ENDOFPROMPT = 20, N_SPECIALS };

static const char *const special_texts[N_SPECIALS] = {
    [STARTOFTEXT] = "<|startoftext|>",
    [ENDOFTEXT] = "<|endoftext|>",
    [RETURN] = "<|return|>",
    [5] = "<|constrain|>",
    [7] = "<|channel|>",
    [8] = "<|start|>",
    [9] = "<|end|>",
    [10] = "<|message|>",
    [CALL] = "<|call|>",
    [ENDOFPROMPT] = "<|endofprompt|>",
};

/* What `like` stands for. */
typedef struct likeness {
    const char *name;
    const char *published; /* NULL: tiny_shape */
    int n_ordinary;        /* tokens before the special ones */
    int64_t shard_bytes;
} likeness;

static const likeness likenesses[] = {
    {"tiny", NULL, 4096, 1 << 20}, /* small shards, so that small tests meet several */
    {"20b", "gpt-oss-20b", 199998, 5000000000},
    {"120b", "gpt-oss-120b", 199998, 5000000000},
};

/* Awkward on purpose: hidden no multiple of 64, 5 intermediate blocks, an odd vocabulary; heads for 1, 2 and 4 ranks; a
 * short original context, so that YaRN shows at small positions. */
static const model_config tiny_shape = {
    .layers = 4,
    .hidden = 96,
    .intermediate = 160,
    .q_heads = 8,
    .kv_heads = 4,
    .head_dim = 64,
    .experts = 8,
    .experts_per_token = 4,
    .vocab = 4096 + N_SPECIALS,
    .sliding_window = 128,
    .sliding = {true, false, true, false},
    .rms_eps = 1e-5f,
    .swiglu_alpha = 1.702f,
    .swiglu_limit = 7.0f,
    .rope_theta = 150000.0,
    .rope_factor = 32.0,
    .rope_beta_fast = 32.0,
    .rope_beta_slow = 1.0,
    .rope_original_context = 512,
    .max_positions = 16384,
    .n_eos = 3,
    .eos = {4096 + RETURN, 4096 + ENDOFTEXT, 4096 + CALL},
};

static const likeness *find_likeness(const char *name)
{
    for (size_t i = 0; i < sizeof likenesses / sizeof likenesses[0]; i++)
        if (strcmp(likenesses[i].name, name) == 0) return &likenesses[i];
    return NULL;
}

bool synth_shape(const char *like, model_config *out)
{
    const likeness *l = find_likeness(like);
    if (!l) return false;
    if (l->published) return model_config_published(l->published, out);
    *out = tiny_shape;
    return true;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static void fill(synth_random *r, const synth_tensor *t, uint8_t *out, size_t bytes)
{
    int64_t columns = t->spec.shape[t->spec.n_dims - 1];
    distribution d = distribution_of(t->role, columns);
    switch (t->role) {
    case CHECKPOINT_GATE_UP_BLOCKS:
    case CHECKPOINT_DOWN_BLOCKS: synth_random_codes(r, out, bytes); break;
    case CHECKPOINT_GATE_UP_SCALES:
    case CHECKPOINT_DOWN_SCALES: synth_random_scales(r, out, bytes, synth_random_scale_base(32 * columns)); break;
    default:
        synth_random_bf16(r, out, bytes, d.mean, d.deviation);
        break;
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* How far all threads together are; changed in a critical section. */
typedef struct progress_state {
    int64_t done, reported;
} progress_state;

/* A checkpoint while it is written; each thread has a copy. */
typedef struct writer {
    const synth_options *options;
    const likeness *like;
    model_config config;
    synth_plan plan;
    uint8_t *chunk;         /* [CHUNK], the thread's own */
    status_detail *detail;  /* the thread's own */
    progress_state *shared; /* of all threads */
} writer;

static status cannot(const writer *w, const char *path, int reason)
{
    return status_fail(w->detail, STATUS_MACHINE, "%s: cannot be written: %s", path, strerror(reason));
}

static status write_bytes(const writer *w, int file, const char *path, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(file, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cannot(w, path, errno);
        at += n;
        size -= (size_t)n;
    }
    return STATUS_OK;
}

static status create(const writer *w, const char *name, char path[PATH_MAX], int *file)
{
    STATUS_TRY(model_file_path(path, PATH_MAX, w->options->dir, name, w->detail));
    int opened = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (opened < 0) return cannot(w, path, errno);
    *file = opened;
    return STATUS_OK;
}

/* Writes and frees a text that a maker returned `made` for. */
static status write_text(const writer *w, const char *name, bool made, buffer *text)
{
    char path[PATH_MAX];
    int file = -1;
    status result =
        made ? create(w, name, path, &file) : status_fail(w->detail, STATUS_MACHINE, "%s: out of memory", name);
    if (result == STATUS_OK) {
        result = write_bytes(w, file, path, text->data, text->size);
        if (close(file) != 0 && result == STATUS_OK) result = cannot(w, path, errno);
    }
    buffer_free(text);
    return result;
}

static void report(const writer *w, int64_t more)
{
#pragma omp critical(synth_progress)
    {
        progress_state *p = w->shared;
        p->done += more;
        bool due = p->done == 0 || p->done == w->plan.bytes || p->done - p->reported >= REPORT_EVERY;
        if (due && w->options->progress) {
            w->options->progress(w->options->user, p->done, w->plan.bytes);
            p->reported = p->done;
        }
    }
}

static status write_tensor(const writer *w, const synth_tensor *t, int file, const char *path)
{
    synth_random r = synth_random_seed(w->options->seed, (uint64_t)(t - w->plan.tensors));
    for (int64_t at = 0; at < t->spec.bytes; at += CHUNK) {
        int64_t rest = t->spec.bytes - at;
        size_t size = rest < CHUNK ? (size_t)rest : CHUNK;
        fill(&r, t, w->chunk, size);
        STATUS_TRY(write_bytes(w, file, path, w->chunk, size));
        report(w, (int64_t)size);
    }
    return STATUS_OK;
}

static status write_shard(const writer *w, int shard)
{
    char name[SYNTH_NAME_SIZE], path[PATH_MAX];
    int file = -1;
    buffer header = {0};
    synth_plan_shard_name(&w->plan, shard, name);
    STATUS_TRY(create(w, name, path, &file));
    status result = STATUS_OK;
    if (synth_plan_header(&w->plan, shard, &header))
        result = write_bytes(w, file, path, header.data, header.size);
    else
        result = status_fail(w->detail, STATUS_MACHINE, "%s: out of memory for its header", path);
    for (size_t i = 0; i < w->plan.n_tensors && result == STATUS_OK; i++)
        if (w->plan.tensors[i].shard == shard) result = write_tensor(w, &w->plan.tensors[i], file, path);
    buffer_free(&header);
    if (close(file) != 0 && result == STATUS_OK) result = cannot(w, path, errno);
    return result;
}

static status write_tokenizer(const writer *w)
{
    const synth_options *o = w->options;
    char path[PATH_MAX], reserved[N_SPECIALS][32];
    synth_special specials[N_SPECIALS];
    if (!o->write_tokenizer) return STATUS_OK;
    for (int i = 0; i < N_SPECIALS; i++) {
        int32_t id = w->like->n_ordinary + i;
        snprintf(reserved[i], sizeof reserved[i], "<|reserved_%d|>", (int)id);
        specials[i] = (synth_special){special_texts[i] ? special_texts[i] : reserved[i], id};
    }
    STATUS_TRY(model_file_path(path, sizeof path, o->dir, "tokenizer.json", w->detail));
    return o->write_tokenizer(o->user, path, w->like->n_ordinary, specials, N_SPECIALS, w->detail);
}

static status write_small_files(const writer *w)
{
    buffer text = {0};
    int32_t bos = w->like->n_ordinary + STARTOFTEXT, pad = w->like->n_ordinary + ENDOFTEXT;
    STATUS_TRY(write_text(w, "model.safetensors.index.json", synth_plan_index(&w->plan, &text), &text));
    STATUS_TRY(write_text(w, "generation_config.json", synth_config_generation(&w->config, bos, pad, &text), &text));
    STATUS_TRY(write_text(w, "tokenizer_config.json", synth_config_tokenizer(&w->config, &text), &text));
    STATUS_TRY(write_tokenizer(w));
    return write_text(w, "config.json", synth_config_model(&w->config, pad, &text), &text);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static status make_folder(const char *dir, status_detail *detail)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n <= 0 || (size_t)n >= sizeof path)
        return status_fail(detail, STATUS_USAGE, "\"%.200s\" cannot be the name of a directory", dir);
    for (char *at = path + 1;; at++) {
        char kept = *at;
        if (kept != '/' && kept != '\0') continue;
        *at = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return status_fail(detail, STATUS_MACHINE, "%s: cannot be made: %s", path, strerror(errno));
        *at = kept;
        if (kept == '\0') return STATUS_OK;
    }
}

static status check_space(const writer *w)
{
    struct statvfs fs;
    const char *dir = w->options->dir;
    if (statvfs(dir, &fs) != 0)
        return status_fail(w->detail, STATUS_MACHINE, "%s: cannot be written: %s", dir, strerror(errno));
    double have = (double)fs.f_bavail * (double)fs.f_frsize;
    double need = (double)w->plan.bytes * 1.001 + (double)w->config.vocab * 256.0; /* headers; tokenizer.json */
    if (have >= need) return STATUS_OK;
    return status_fail(w->detail, STATUS_MACHINE,
                       "%s: needs %.2f GB, but %.2f GB are free there; make room or choose another directory", dir,
                       need / 1e9, have / 1e9);
}

static void remove_shards(const writer *w)
{
    for (int i = 0; i < w->plan.n_shards; i++) {
        char name[SYNTH_NAME_SIZE], path[PATH_MAX];
        synth_plan_shard_name(&w->plan, i, name);
        if (model_file_path(path, sizeof path, w->options->dir, name, NULL) == STATUS_OK) unlink(path);
    }
}

/* Shards are written side by side: the generator is slower than a good disk. */
static status write_shards(const writer *w)
{
    status result = STATUS_OK;
#pragma omp parallel
    {
        status_detail why;
        writer mine = *w;
        mine.detail = &why;
        mine.chunk = malloc(CHUNK);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < w->plan.n_shards; i++) {
            status before, mine_result;
#pragma omp atomic read
            before = result;
            if (before != STATUS_OK) continue;
            mine_result = mine.chunk ? write_shard(&mine, i)
                                     : status_fail(&why, STATUS_MACHINE, "out of memory for a buffer of %d bytes", CHUNK);
            if (mine_result == STATUS_OK) continue;
#pragma omp critical(synth_result)
            if (result == STATUS_OK) {
                if (w->detail) *w->detail = why;
#pragma omp atomic write
                result = mine_result;
            }
        }
        free(mine.chunk);
    }
    return result;
}

static status check_options(const synth_options *o, status_detail *detail)
{
    if (!find_likeness(o->like))
        return status_fail(detail, STATUS_USAGE, "--like: found %.80s, allowed: tiny, 20b, 120b", o->like);
    if (o->vocabulary && access(o->vocabulary, R_OK) != 0)
        return status_fail(detail, STATUS_USAGE, "vocabulary %s: cannot be read: %s", o->vocabulary, strerror(errno));
    STATUS_TRY(make_folder(o->dir, detail));
    if (model_file_exists(o->dir, "config.json"))
        return status_fail(detail, STATUS_USAGE,
                           "%s: already holds a model (config.json); choose another directory or remove it first",
                           o->dir);
    return STATUS_OK;
}

status synth_write(const synth_options *options, status_detail *detail)
{
    progress_state shared = {0};
    writer w = {.options = options, .detail = detail, .shared = &shared};
    STATUS_TRY(check_options(options, detail));
    w.like = find_likeness(options->like);
    synth_shape(options->like, &w.config);
    STATUS_TRY(synth_plan_make(&w.config, w.like->shard_bytes, &w.plan, detail));
    status result = check_space(&w);
    if (result == STATUS_OK) {
        report(&w, 0);
        result = write_shards(&w);
        if (result == STATUS_OK) result = write_small_files(&w);
        if (result != STATUS_OK) remove_shards(&w);
    }
    synth_plan_free(&w.plan);
    return result;
}
