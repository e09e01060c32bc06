/* Decode steps kept as CUDA graphs: one launch in place of hundreds, and next to no gap between kernels.
 *
 * What a step launches is a function of its figures alone (cuda_batch in cuda.h): the same figures, the same kernels with the same arguments, whatever
 * tokens, contexts and slots stand in the arrays. The first step of its figures is issued as usual, which finds cuBLASLt's plans and loads kernels;
 * the second is captured; later ones are replayed. Graphs are not padded to buckets: a running server meets every number of sequences soon, and a
 * padded row would cost expert reads. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

enum { MAX_RECORDINGS = 256, MAX_TOKENS = 64 }; /* above that many rows kernels outlast their launches */

typedef struct record_key {
    int n_tokens, table_stride, longest_context;
    unsigned features; /* of `sample` */
} record_key;

typedef struct recording {
    record_key key;
    cudaGraphExec_t graph; /* NULL: seen once, not captured yet */
    uint64_t used;         /* the clock when it was last asked for; 0: free */
} recording;

struct cuda_record_state {
    recording recordings[MAX_RECORDINGS];
    uint64_t clock;
    recording *current; /* being captured */
};

status cuda_record_configure(ops_context *c, status_detail *detail)
{
    return cuda_host_allocate(c, sizeof *c->record, (void **)&c->record, detail);
}

void cuda_record_close(ops_context *c)
{
    for (int i = 0; c->record && i < MAX_RECORDINGS; i++)
        if (c->record->recordings[i].graph) cudaGraphExecDestroy(c->record->recordings[i].graph);
}

/* One row a sequence, and the logits of every row: a decode step. */
static bool recordable(const ops_context *c, const ops_logit_row *rows, int n)
{
    const cuda_batch *b = &c->batch;
    if (b->n_tokens == 0 || b->n_tokens > MAX_TOKENS || b->longest_run != 1 || n != b->n_tokens) return false;
    for (int i = 0; i < n; i++)
        if (rows[i].row != i) return false;
    return true;
}

/* The recording of this key, or the one to give up for it: the least recently used, which no running step uses, as there are more of them than steps
 * in flight. */
static recording *find(struct cuda_record_state *s, const record_key *key)
{
    recording *oldest = &s->recordings[0];
    for (int i = 0; i < MAX_RECORDINGS; i++) {
        recording *r = &s->recordings[i];
        if (r->used && memcmp(&r->key, key, sizeof *key) == 0) return r;
        if (r->used < oldest->used) oldest = r;
    }
    if (oldest->graph) cudaGraphExecDestroy(oldest->graph);
    *oldest = recording();
    return oldest;
}

status cuda_record_begin(ops_context *c, const ops_logit_row *rows, int n, ops_recording *how, status_detail *detail)
{
    struct cuda_record_state *s = c->record;
    *how = OPS_ISSUE;
    if (c->failed != cudaSuccess || !recordable(c, rows, n)) return cuda_report(c, detail);
    record_key key = {c->batch.n_tokens, c->batch.table_stride, c->batch.longest_context, cuda_sample_features(c, rows, n)};
    recording *r = find(s, &key);
    bool seen = r->used > 0;
    r->key = key;
    r->used = ++s->clock;
    if (!seen) return STATUS_OK;
    cuda_step_rows(c, rows, n); /* so that `sample` finds them there: an upload from the host has no place in a graph */
    if (r->graph) {
        cuda_check(c, cudaGraphLaunch(r->graph, c->stream), "a recorded step");
        *how = OPS_REPLAYED;
    } else {
        cuda_check(c, cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal), "recording a step");
        s->current = r;
        *how = OPS_RECORD;
    }
    return cuda_report(c, detail);
}

status cuda_record_end(ops_context *c, status_detail *detail)
{
    recording *r = c->record->current;
    cudaGraph_t graph = NULL;
    cuda_check(c, cudaStreamEndCapture(c->stream, &graph), "recording a step");
    if (graph) {
        cuda_check(c, cudaGraphInstantiate(&r->graph, graph, 0), "recording a step");
        cudaGraphDestroy(graph);
        if (r->graph) cuda_check(c, cudaGraphLaunch(r->graph, c->stream), "a recorded step");
    }
    return cuda_report(c, detail);
}
