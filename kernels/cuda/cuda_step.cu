/* What the host tells a step: one page-locked block, one copy to a device block.
 *
 * There are two host blocks, because the step before may still be waiting for its copy when the next one is filled. A
 * block is filled again only when the step that used it is done; as the engine runs at most one step ahead, that wait
 * is over before it begins. Behind the batch a block has room for the step's masks, which go up in a copy of their own
 * when there are any, and for its other uploads (rows of logits, new slots), handed out from front to back. The device
 * block is one: the stream orders its uses.
 */
#include "kernels/cuda/cuda.h"

enum { PART_ALIGNMENT = 16, STAGE_BYTES = 4 << 20, STAGE_MAX = 1 << 20, LEAST_CONTEXT = 256, HEAD_INTS = 4 };

struct cuda_step_state {
    uint8_t *host[2];               /* [batch_bytes | mask_bytes | STAGE_BYTES] */
    cudaEvent_t done[2];            /* all work of the step that filled the block; recorded when the next step begins */
    int parity;                     /* the current block, and the current result buffer */
    uint32_t serial;                /* of the batch */
    size_t batch_bytes;             /* of the largest batch */
    size_t mask_bytes;              /* of as many masks as a batch can have */
    size_t staged;                  /* bytes handed out of the current block's STAGE_BYTES */
    uint8_t *device;                /* [batch_bytes]; the first int is the parity, the second the serial */
    uint32_t *masks;                /* device, [mask_bytes] */
    ops_logit_row *rows;            /* device, [max_logit_rows] */
    const ops_logit_row *last_rows; /* in the current block: what `rows` holds, or NULL */
    int n_last_rows;
};

static size_t part(size_t bytes) { return (bytes + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT; }

static size_t largest_batch(const ops_shape *s)
{
    size_t tokens = (size_t)s->max_tokens, sequences = (size_t)s->max_sequences,
           blocks = (size_t)s->max_blocks_per_sequence, i = sizeof(int32_t);
    return part(HEAD_INTS * i) + 5 * part(tokens * i) + 3 * part((sequences + 1) * i) +
           OPS_KV_KINDS * part(sequences * blocks * i);
}

status cuda_step_configure(ops_context *c, status_detail *detail)
{
    struct cuda_step_state *s;
    STATUS_TRY(cuda_host_allocate(c, sizeof *s, (void **)&s, detail));
    c->step = s;
    s->batch_bytes = largest_batch(&c->shape);
    s->mask_bytes = part((size_t)c->shape.max_sequences * ops_mask_words(c->shape.vocab) * sizeof *s->masks);
    for (int i = 0; i < 2; i++) {
        STATUS_TRY(
            cuda_pinned_allocate(c, s->batch_bytes + s->mask_bytes + STAGE_BYTES, (void **)&s->host[i], detail));
        cuda_check(c, cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming | cudaEventBlockingSync),
                   "events of steps");
    }
    STATUS_TRY(cuda_allocate(c, s->batch_bytes, (void **)&s->device, detail));
    STATUS_TRY(cuda_allocate(c, s->mask_bytes, (void **)&s->masks, detail));
    STATUS_TRY(cuda_allocate(c, (size_t)c->shape.max_logit_rows * sizeof *s->rows, (void **)&s->rows, detail));
    cuda_check(c, cudaMemsetAsync(s->device, 0, s->batch_bytes, c->stream), "clearing the batch");
    return STATUS_OK;
}

void cuda_step_close(ops_context *c)
{
    for (int i = 0; c->step && i < 2; i++)
        if (c->step->done[i]) cudaEventDestroy(c->step->done[i]);
}

/* ---- uploads besides the batch ---------------------------------------------------------------------------------- */

size_t cuda_step_stage_max(void) { return STAGE_MAX; }

void *cuda_step_stage(ops_context *c, size_t bytes)
{
    struct cuda_step_state *s = c->step;
    if (s->staged + part(bytes) > STAGE_BYTES) {
        cuda_check(c, cudaStreamSynchronize(c->stream), "a full staging block");
        s->staged = 0;
        s->last_rows = NULL;
    }
    void *out = s->host[s->parity] + s->batch_bytes + s->mask_bytes + s->staged;
    s->staged += part(bytes);
    return out;
}

const ops_logit_row *cuda_step_rows(ops_context *c, const ops_logit_row *rows, int n)
{
    struct cuda_step_state *s = c->step;
    size_t bytes = (size_t)n * sizeof *rows;
    if (s->last_rows && s->n_last_rows == n && memcmp(s->last_rows, rows, bytes) == 0) return s->rows;
    ops_logit_row *staged = (ops_logit_row *)cuda_step_stage(c, bytes);
    memcpy(staged, rows, bytes);
    cuda_check(c, cudaMemcpyAsync(s->rows, staged, bytes, cudaMemcpyHostToDevice, c->stream), "rows of logits");
    s->last_rows = staged;
    s->n_last_rows = n;
    return s->rows;
}

const uint32_t *cuda_step_masks(const ops_context *c) { return c->step->masks; }

const int32_t *cuda_step_parity(const ops_context *c) { return (const int32_t *)c->step->device; }
const int32_t *cuda_step_serial(const ops_context *c) { return (const int32_t *)c->step->device + 1; }
int cuda_step_parity_now(const ops_context *c) { return c->step->parity; }

void cuda_step_wait(ops_context *c, int ago)
{
    struct cuda_step_state *s = c->step;
    cudaEvent_t event = s->done[s->parity ^ ago];
    if (ago == 0)
        cuda_check(c, cudaEventRecord(event, c->stream), "a step"); /* recorded anew when the next step begins */
    cuda_check(c, cudaEventSynchronize(event), "a step");
}

/* ---- the batch -------------------------------------------------------------------------------------------------- */

static status check_batch(const ops_shape *s, const ops_batch *b, status_detail *detail)
{
    if (b->n_tokens < 0 || b->n_tokens > s->max_tokens || b->n_sequences < 0 || b->n_sequences > s->max_sequences ||
        b->table_stride > s->max_blocks_per_sequence)
        return status_fail(
            detail, STATUS_INTERNAL, "a batch of %d tokens, %d sequences and tables of %d blocks exceeds %d, %d and %d",
            b->n_tokens, b->n_sequences, b->table_stride, s->max_tokens, s->max_sequences, s->max_blocks_per_sequence);
    if (b->n_masks < 0 || b->n_masks > s->max_sequences)
        return status_fail(detail, STATUS_INTERNAL, "a batch has %d masks: %d fit", b->n_masks, s->max_sequences);
    for (int i = 0; i < b->n_tokens; i++)
        if (b->positions[i] < 0 || b->positions[i] >= s->max_positions || b->token_ids[i] < -1 ||
            b->token_ids[i] >= s->vocab)
            return status_fail(detail, STATUS_INTERNAL, "row %d of a batch has token %d at position %d", i,
                               b->token_ids[i], b->positions[i]);
    return STATUS_OK;
}

/* Figures that decide the layout. Sequences without rows in this batch are left out: nothing reads them. */
static void measure(const ops_context *c, const ops_batch *in, cuda_batch *b)
{
    const ops_shape *s = &c->shape;
    int tile = cuda_attention_tile_tokens(s), longest = 0, pieces = 0;
    b->n_tokens = in->n_tokens;
    for (int i = 0; i < in->n_sequences; i++) {
        int rows = in->sequence_start[i + 1] - in->sequence_start[i];
        if (rows == 0) continue;
        int context = in->positions[in->sequence_start[i + 1] - 1] + 1;
        b->n_sequences++;
        pieces += (rows + tile - 1) / tile;
        if (rows > b->longest_run) b->longest_run = rows;
        if (context > longest) longest = context;
    }
    if (b->longest_run > 1) b->n_tiles = pieces;
    b->longest_context = LEAST_CONTEXT;
    while (b->longest_context < longest) b->longest_context *= 2;
    if (b->longest_context > s->max_positions) b->longest_context = s->max_positions;
    b->table_stride = (b->longest_context + s->block_tokens - 1) / s->block_tokens;
    if (b->table_stride > s->max_blocks_per_sequence) b->table_stride = s->max_blocks_per_sequence;
}

/* Hands out the parts of a block in one order, on the host and on the device. */
typedef struct carver {
    uint8_t *host, *device;
    size_t at;
} carver;

static int32_t *carve(carver *v, size_t count, int32_t **device)
{
    int32_t *host = (int32_t *)(v->host + v->at);
    *device = (int32_t *)(v->device + v->at);
    v->at += part(count * sizeof(int32_t));
    return host;
}

typedef struct host_parts {
    int32_t *token_ids, *positions, *row_sequence, *sequence_start, *slots, *contexts, *tables[OPS_KV_KINDS],
        *tile_sequence, *tile_token;
} host_parts;

static size_t lay_out(const struct cuda_step_state *s, cuda_batch *b, host_parts *h)
{
    carver v = {s->host[s->parity], s->device, part(HEAD_INTS * sizeof(int32_t))};
    size_t tokens = (size_t)b->n_tokens, sequences = (size_t)b->n_sequences, tiles = (size_t)b->n_tiles;
    h->token_ids = carve(&v, tokens, &b->token_ids);
    h->positions = carve(&v, tokens, &b->positions);
    h->row_sequence = carve(&v, tokens, &b->row_sequence);
    h->sequence_start = carve(&v, sequences + 1, &b->sequence_start);
    h->slots = carve(&v, sequences, &b->slots);
    h->contexts = carve(&v, sequences, &b->contexts);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++)
        h->tables[kind] = carve(&v, sequences * (size_t)b->table_stride, &b->tables[kind]);
    h->tile_sequence = carve(&v, tiles, &b->tile_sequence);
    h->tile_token = carve(&v, tiles, &b->tile_token);
    return v.at;
}

static void copy_table(const ops_batch *in, int kind, int from, int32_t *to, int stride)
{
    int given = in->table_stride < stride ? in->table_stride : stride;
    if (given > 0)
        memcpy(to, in->block_tables[kind] + (size_t)from * (size_t)in->table_stride, (size_t)given * sizeof *to);
    for (int i = given; i < stride; i++) to[i] = -1;
}

static void fill(const ops_context *c, const ops_batch *in, const cuda_batch *b, host_parts *h)
{
    int tile = cuda_attention_tile_tokens(&c->shape), to = 0, piece = 0;
    memcpy(h->token_ids, in->token_ids, (size_t)b->n_tokens * sizeof(int32_t));
    memcpy(h->positions, in->positions, (size_t)b->n_tokens * sizeof(int32_t));
    h->sequence_start[0] = 0;
    for (int i = 0; i < in->n_sequences; i++) {
        int first = in->sequence_start[i], end = in->sequence_start[i + 1];
        if (first == end) continue;
        for (int row = first; row < end; row++) h->row_sequence[row] = to;
        h->sequence_start[to] = first;
        h->sequence_start[to + 1] = end;
        h->slots[to] = in->slots[i];
        h->contexts[to] = in->positions[end - 1] + 1;
        for (int kind = 0; kind < OPS_KV_KINDS; kind++)
            copy_table(in, kind, i, h->tables[kind] + (size_t)to * (size_t)b->table_stride, b->table_stride);
        for (int token = 0; b->n_tiles && token < end - first; token += tile, piece++) {
            h->tile_sequence[piece] = to;
            h->tile_token[piece] = token;
        }
        to++;
    }
}

/* At one address, whatever the batch: a recorded step finds them there. */
static void upload_masks(ops_context *c, const ops_batch *in)
{
    struct cuda_step_state *s = c->step;
    size_t bytes = (size_t)in->n_masks * ops_mask_words(c->shape.vocab) * sizeof *in->masks;
    uint8_t *staged = s->host[s->parity] + s->batch_bytes;
    if (bytes == 0) return;
    memcpy(staged, in->masks, bytes);
    cuda_check(c, cudaMemcpyAsync(s->masks, staged, bytes, cudaMemcpyHostToDevice, c->stream), "the masks");
}

status cuda_batch_begin(ops_context *c, const ops_batch *batch, status_detail *detail)
{
    struct cuda_step_state *s = c->step;
    STATUS_TRY(check_batch(&c->shape, batch, detail));
    cuda_check(c, cudaSetDevice(c->device), "the start of a step");
    cuda_check(c, cudaEventRecord(s->done[s->parity], c->stream), "the start of a step");
    s->parity ^= 1;
    cuda_check(c, cudaEventSynchronize(s->done[s->parity]), "a step");
    STATUS_TRY(cuda_report(c, detail));

    s->staged = 0;
    s->last_rows = NULL;
    c->batch = cuda_batch();
    host_parts parts;
    measure(c, batch, &c->batch);
    size_t bytes = lay_out(s, &c->batch, &parts);
    ((int32_t *)s->host[s->parity])[0] = s->parity;
    ((uint32_t *)s->host[s->parity])[1] = ++s->serial;
    fill(c, batch, &c->batch, &parts);
    cuda_check(c, cudaMemcpyAsync(s->device, s->host[s->parity], bytes, cudaMemcpyHostToDevice, c->stream),
               "the batch");
    upload_masks(c, batch);
    return STATUS_OK;
}
