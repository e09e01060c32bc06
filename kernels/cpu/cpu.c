/* The CPU backend: its table, its memory, and the step's metadata. */
#include "kernels/cpu/cpu.h"
#include "kernels/ops_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_BLOCK_TOKENS = 16, ALIGNMENT = 256 };

/* ---- memory ------------------------------------------------------------------------------------------------------ */

struct cpu_owned {
    struct cpu_owned *next;
    void *memory;
};

status cpu_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail)
{
    struct cpu_owned *entry = malloc(sizeof *entry);
    /* calloc takes large areas as untouched pages: what is never used costs nothing */
    void *memory = bytes < SIZE_MAX - ALIGNMENT ? calloc(1, bytes + ALIGNMENT) : NULL;
    if (!entry || !memory) {
        free(entry);
        free(memory);
        return status_fail(detail, STATUS_MACHINE, "no memory for %zu bytes on the CPU backend; lower engine.kv_cache or engine.max_tokens_per_step", bytes);
    }
    entry->memory = memory;
    entry->next = c->owned;
    c->owned = entry;
    *out = (void *)(((uintptr_t)memory + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return STATUS_OK;
}

void cpu_free_owned(ops_context *c)
{
    while (c->owned) {
        struct cpu_owned *entry = c->owned;
        c->owned = entry->next;
        free(entry->memory);
        free(entry);
    }
}

/* The number after `key` in a file, in bytes; -1 when there is none. */
static int64_t read_figure(const char *path, const char *key, int64_t unit)
{
    FILE *file = fopen(path, "r");
    char line[256];
    int64_t value = -1;
    size_t length = strlen(key);
    while (file && value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%ld", &value) == 1) value *= unit;
    if (file) fclose(file);
    return value;
}

static int64_t memory_free(void)
{
    int64_t available = read_figure("/proc/meminfo", "MemAvailable:", 1024);
    int64_t limit = read_figure("/sys/fs/cgroup/memory.max", "", 1), used = read_figure("/sys/fs/cgroup/memory.current", "", 1);
    if (available < 0) available = (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (limit > 0 && used >= 0 && limit - used < available) available = limit > used ? limit - used : 0;
    return available;
}

/* A limit of the container is taken only where it is one: "max", which is no number, and one beyond the host are none. */
static bool cpu_memory(const ops_context *c, ops_memory *out)
{
    (void)c;
    int64_t used = read_figure("/proc/self/status", "VmRSS:", 1024), total = read_figure("/proc/meminfo", "MemTotal:", 1024);
    int64_t limit = read_figure("/sys/fs/cgroup/memory.max", "", 1);
    if (used < 0 || total < 0) return false;
    *out = (ops_memory){.device = -1, .used = used, .total = limit > 0 && limit < total ? limit : total};
    return true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static status cpu_open(const ops_options *options, ops_context **out, status_detail *detail)
{
    ops_context *c = calloc(1, sizeof *c);
    if (!c) return status_fail(detail, STATUS_MACHINE, "no memory for the CPU backend");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    c->threads = options->threads > 0 ? options->threads : cores > 0 ? (int)cores : 1;
    c->block_tokens = options->block_tokens > 0 ? options->block_tokens : DEFAULT_BLOCK_TOKENS;
    *out = c;
    return STATUS_OK;
}

static void cpu_close(ops_context *c)
{
    cpu_free_owned(c);
    free(c);
}

static void cpu_caps(ops_context *c, ops_caps *out)
{
    *out = (ops_caps){.name = "cpu", .activation = DTYPE_F32, .host_memory = true, .asynchronous = false, .batch_invariant = true, .mxfp4_max_scale = 254,
                      .block_tokens = c->block_tokens, .memory_free = memory_free()};
}

static void *cpu_stream(ops_context *c)
{
    (void)c;
    return NULL;
}

/* The widest row that any product dequantises, twice: gate and up rows lie side by side. */
static size_t scratch_floats(const ops_shape *s)
{
    size_t widest = (size_t)s->hidden, heads = (size_t)s->q_heads * (size_t)s->head_dim, columns = (size_t)s->intermediate;
    if (heads > widest) widest = heads;
    if (columns > widest) widest = columns;
    return (2 * widest + 31) / 32 * 32;
}

static status cpu_configure(ops_context *c, const ops_shape *shape, status_detail *detail)
{
    c->shape = *shape;
    const ops_shape *s = &c->shape;
    size_t tokens = (size_t)s->max_tokens, pairs = (size_t)s->max_expert_rows * (size_t)s->top_k, f = sizeof(float), i = sizeof(int32_t);
    size_t threads = (size_t)c->threads, tables = (size_t)s->max_sequences * (size_t)s->max_blocks_per_sequence;
    c->row_scratch_size = scratch_floats(s);
    const struct {
        void **out;
        size_t bytes;
    } wanted[] = {
        {(void **)&c->batch.token_ids, tokens * i},
        {(void **)&c->batch.positions, tokens * i},
        {(void **)&c->batch.row_sequence, tokens * i},
        {(void **)&c->batch.block_tables[OPS_FULL], tables * i},
        {(void **)&c->batch.block_tables[OPS_SLIDING], tables * i},
        {(void **)&c->batch.masks, (size_t)s->max_sequences * ops_mask_words(s->vocab) * sizeof *c->batch.masks},
        {(void **)&c->scores, threads * (size_t)s->max_positions * f},
        {(void **)&c->row_scratch, threads * c->row_scratch_size * f},
        {(void **)&c->kv_scratch, tokens * 2 * (size_t)s->kv_heads * (size_t)s->head_dim * f},
        {(void **)&c->router_logits, tokens * (size_t)s->n_experts * f},
        {(void **)&c->expert_rows, pairs * i},
        {(void **)&c->expert_start, (size_t)(s->expert_count + 1) * i},
        {(void **)&c->activations, pairs * (size_t)s->intermediate * f},
        {(void **)&c->expert_out, pairs * (size_t)s->hidden * f},
        {(void **)&c->gathered, (size_t)s->max_logit_rows * (size_t)s->hidden * f},
    };
    for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) STATUS_TRY(cpu_allocate(c, wanted[k].bytes, wanted[k].out, detail));
    return cpu_sampler_configure(c, detail);
}

static status cpu_place_end(ops_context *c, status_detail *detail)
{
    (void)c;
    (void)detail;
    return STATUS_OK;
}

static status cpu_upload(ops_context *c, void *device, const void *host, size_t bytes, status_detail *detail)
{
    (void)c;
    (void)detail;
    memcpy(device, host, bytes);
    return STATUS_OK;
}

static status cpu_download(ops_context *c, void *host, const void *device, size_t bytes, status_detail *detail)
{
    (void)c;
    (void)detail;
    memcpy(host, device, bytes);
    return STATUS_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

static status check_batch(const ops_shape *s, const ops_batch *b, status_detail *detail)
{
    if (b->n_tokens < 0 || b->n_tokens > s->max_tokens || b->n_sequences < 0 || b->n_sequences > s->max_sequences ||
        b->table_stride > s->max_blocks_per_sequence)
        return status_fail(detail, STATUS_INTERNAL, "a batch of %d tokens, %d sequences and tables of %d blocks exceeds %d, %d and %d", b->n_tokens,
                           b->n_sequences, b->table_stride, s->max_tokens, s->max_sequences, s->max_blocks_per_sequence);
    if (b->n_masks < 0 || b->n_masks > s->max_sequences)
        return status_fail(detail, STATUS_INTERNAL, "a batch has %d masks: %d fit", b->n_masks, s->max_sequences);
    for (int i = 0; i < b->n_tokens; i++)
        if (b->positions[i] < 0 || b->positions[i] >= s->max_positions || b->token_ids[i] < -1 || b->token_ids[i] >= s->vocab)
            return status_fail(detail, STATUS_INTERNAL, "row %d of a batch has token %d at position %d", i, b->token_ids[i], b->positions[i]);
    return STATUS_OK;
}

status cpu_batch_begin(ops_context *c, const ops_batch *batch, status_detail *detail)
{
    STATUS_TRY(check_batch(&c->shape, batch, detail));
    cpu_batch *b = &c->batch;
    b->n_tokens = batch->n_tokens;
    b->n_sequences = batch->n_sequences;
    b->table_stride = batch->table_stride;
    for (int s = 0; s < batch->n_sequences; s++) {
        for (int i = batch->sequence_start[s]; i < batch->sequence_start[s + 1]; i++) {
            b->token_ids[i] = batch->token_ids[i] >= 0 ? batch->token_ids[i] : cpu_sampler_last(c, batch->slots[s]);
            b->positions[i] = batch->positions[i];
            b->row_sequence[i] = s;
        }
    }
    size_t entries = (size_t)batch->n_sequences * (size_t)batch->table_stride;
    for (int kind = 0; kind < OPS_KV_KINDS && entries; kind++) memcpy(b->block_tables[kind], batch->block_tables[kind], entries * sizeof(int32_t));
    if (batch->n_masks) memcpy(b->masks, batch->masks, (size_t)batch->n_masks * ops_mask_words(c->shape.vocab) * sizeof *b->masks);
    cpu_sampler_step(c);
    return STATUS_OK;
}

const ops cpu_ops = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .caps = cpu_caps,
    .memory = cpu_memory,
    .stream = cpu_stream,
    .configure = cpu_configure,
    .allocate = cpu_allocate,
    .place = cpu_place,
    .place_end = cpu_place_end,
    .upload = cpu_upload,
    .download = cpu_download,
    .slot_begin = cpu_slot_begin,
    .batch_begin = cpu_batch_begin,
    .embed = cpu_embed,
    .add_norm = cpu_add_norm,
    .qkv = cpu_qkv,
    .attention = cpu_attention,
    .attention_out = cpu_attention_out,
    .route = cpu_route,
    .experts = cpu_experts,
    .logits = cpu_logits,
    .sample = cpu_sample,
    .results = cpu_results,
};
