/* Times of collectives by size and transport, inside CUDA graphs, which is how a decode step issues them.
 *
 *   mpirun -np N collectives_bench [--gather|--norm]      $GPTOSS_SHARE_GPU=1: all ranks on GPU 0
 *
 * Prints microseconds per call on rank 0: the median of replays of a graph of calls. `once` and `twice` force the ways of
 * the transport `peer`, whose usual choice is `peer`; GPTOSS_PEER_* set its limits (comm/cuda/README.md). --norm compares the
 * all-reduce that also adds and norms with the all-reduce alone. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"

enum { CALLS = 20, REPLAYS = 31, MOST_ROWS = 4096, NORM_ROWS = 64, ROW_BYTES = 5760 };

typedef struct bench {
    world *w;
    cudaStream_t stream;
    bool gather, norm, shared;
    char *data, *fresh, *out; /* device */
} bench;

typedef enum operation { REDUCE, GATHER, ADD_NORM } operation;

typedef struct column {
    operation what;
    const char *name, *transport, *once, *twice, *move; /* limits: NULL for the usual */
    comm *c;                                            /* NULL: not on this machine */
} column;

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(3);
}

static void cuda_ok(cudaError_t code, const char *what)
{
    if (code != cudaSuccess) give_up(what, cudaGetErrorString(code));
}

static void ok(status code, const status_detail *detail)
{
    if (code != STATUS_OK) give_up("collectives_bench", detail->text);
}

static void lost(void *user, int rank, bool speaks)
{
    (void)user;
    if (speaks) fprintf(stderr, "rank %d was lost\n", rank);
    _exit(5);
}

/* ---- one figure --------------------------------------------------------------------------------------------------- */

/* False: not for so many rows. x, normed and the norm take turns in `out`. */
static bool add_norm(const bench *b, comm *c, size_t bytes)
{
    status_detail detail;
    bool done;
    size_t room = (size_t)NORM_ROWS * ROW_BYTES;
    comm_add_norm what = {.delta = b->data,
                          .x = b->out,
                          .norm = b->out + 2 * room,
                          .normed = b->out + room,
                          .rows = (int)(bytes / ROW_BYTES),
                          .hidden = ROW_BYTES / 2,
                          .eps = 1e-5f,
                          .type = DTYPE_BF16};
    ok(comm_all_reduce_add_norm(c, &what, &done, &detail), &detail);
    return done;
}

static bool call(const bench *b, const column *col, size_t bytes)
{
    status_detail detail;
    if (col->what == ADD_NORM) return add_norm(b, col->c, bytes);
    if (col->what == GATHER)
        ok(comm_all_gather(col->c, b->data, bytes, DTYPE_U8, b->out, &detail), &detail);
    else
        ok(comm_all_reduce(col->c, b->data, bytes / 2, DTYPE_BF16, &detail), &detail);
    return true;
}

/* NULL: the column has nothing for this size. */
static cudaGraphExec_t capture(const bench *b, const column *col, size_t bytes)
{
    cudaGraph_t graph;
    cudaGraphExec_t made = NULL;
    bool done = true;
    cuda_ok(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < CALLS && done; i++) done = call(b, col, bytes);
    cuda_ok(cudaStreamEndCapture(b->stream, &graph), "capture");
    if (done) cuda_ok(cudaGraphInstantiate(&made, graph, 0), "capture");
    cuda_ok(cudaGraphDestroy(graph), "capture");
    return made;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sums grow with every call, so that data is renewed before each replay: CALLS of them stay far from infinity. */
static float replay_us(const bench *b, cudaGraphExec_t graph, cudaEvent_t begin, cudaEvent_t end, size_t bytes)
{
    float ms;
    cuda_ok(cudaMemcpyAsync(b->data, b->fresh, bytes, cudaMemcpyDeviceToDevice, b->stream), "copy");
    cuda_ok(cudaStreamSynchronize(b->stream), "copy");
    world_barrier(b->w);
    cuda_ok(cudaEventRecord(begin, b->stream), "event");
    cuda_ok(cudaGraphLaunch(graph, b->stream), "launch");
    cuda_ok(cudaEventRecord(end, b->stream), "event");
    cuda_ok(cudaEventSynchronize(end), "replay");
    cuda_ok(cudaEventElapsedTime(&ms, begin, end), "event");
    return ms * 1e3f / CALLS;
}

/* Below zero: nothing for this size. */
static float measure(const bench *b, const column *col, size_t bytes)
{
    float us[REPLAYS];
    cudaEvent_t begin, end;
    cudaGraphExec_t graph = capture(b, col, bytes);
    if (!graph) return -1;
    cuda_ok(cudaEventCreate(&begin), "event");
    cuda_ok(cudaEventCreate(&end), "event");
    int replays = b->shared ? 5 : REPLAYS; /* ranks on one GPU wait milliseconds for their turns */
    for (int i = 0; i < 3; i++) replay_us(b, graph, begin, end, bytes);
    for (int i = 0; i < replays; i++) us[i] = replay_us(b, graph, begin, end, bytes);
    qsort(us, (size_t)replays, sizeof *us, by_size);
    cuda_ok(cudaEventDestroy(end), "event");
    cuda_ok(cudaEventDestroy(begin), "event");
    cuda_ok(cudaGraphExecDestroy(graph), "graph");
    return us[replays / 2];
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static void limit(const char *name, const char *value)
{
    if (value) setenv(name, value, 1);
}

/* Limits are read when a comm opens. */
static void open_column(const bench *b, column *col)
{
    comm_options options = {.transport = col->transport, .stream = b->stream, .max_bytes = (size_t)MOST_ROWS * ROW_BYTES};
    status_detail detail;
    limit("GPTOSS_PEER_ONCE", col->once);
    limit("GPTOSS_PEER_TWICE", col->twice);
    limit("GPTOSS_PEER_MOVE", col->move);
    if (comm_open(b->w, 0, &options, &col->c, &detail) == STATUS_OK) return;
    col->c = NULL;
    if (world_rank(b->w) == 0) printf("no column %s: %s\n", col->name, detail.text);
}

static void print_table(const bench *b, const column *columns, int n)
{
    bool speaks = world_rank(b->w) == 0;
    if (speaks) {
        printf("%s of BF16, %d ranks%s, microseconds per call\n%12s", b->gather ? "all-gather (bytes of one rank)" : "all-reduce",
               world_size(b->w), b->shared ? " on one GPU" : "", b->norm ? "rows" : "bytes");
        for (int i = 0; i < n; i++) printf("%12s", columns[i].name);
        printf("\n");
    }
    for (size_t rows = 1; rows <= (b->norm ? NORM_ROWS : MOST_ROWS); rows *= 2) {
        if (speaks) printf("%12zu", b->norm ? rows : rows * ROW_BYTES);
        for (int i = 0; i < n; i++) {
            float us = columns[i].c ? measure(b, &columns[i], rows * ROW_BYTES) : -1;
            if (speaks && us < 0) printf("%12s", "-");
            else if (speaks) printf("%12.2f", (double)us);
        }
        if (speaks) printf("\n");
        fflush(stdout);
    }
}

/* Random bits under 2 in size: 20 sums over 8 ranks stay below 2^61. */
static void take_buffers(bench *b)
{
    size_t bytes = (size_t)MOST_ROWS * ROW_BYTES;
    uint16_t *host = malloc(bytes);
    uint32_t state = 1 + (uint32_t)world_rank(b->w);
    if (!host) give_up("collectives_bench", "out of memory");
    for (size_t i = 0; i < bytes / 2; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = (uint16_t)(0x3f80u | state >> 25 | (state >> 9 & 0x8000u));
    }
    cuda_ok(cudaMalloc((void **)&b->data, bytes), "memory");
    cuda_ok(cudaMalloc((void **)&b->fresh, bytes), "memory");
    cuda_ok(cudaMalloc((void **)&b->out, bytes * (size_t)world_size(b->w)), "memory");
    cuda_ok(cudaMemcpy(b->fresh, host, bytes, cudaMemcpyHostToDevice), "memory");
    cuda_ok(cudaMemset(b->out, 0, bytes * (size_t)world_size(b->w)), "memory");
    free(host);
}

int main(int argc, char **argv)
{
    const char *share = getenv("GPTOSS_SHARE_GPU"), *mode = argc > 1 ? argv[1] : "";
    bench b = {.gather = strcmp(mode, "--gather") == 0,
               .norm = strcmp(mode, "--norm") == 0,
               .shared = share && strcmp(share, "1") == 0};
    operation what = b.gather ? GATHER : REDUCE;
    column all[] = {
        {what, "peer", "peer", NULL, NULL, NULL, NULL},
        {what, "nccl", "nccl", NULL, NULL, NULL, NULL},
        {what, "once", "peer", "1000000000", "1000000000", "1000000000", NULL},
        {REDUCE, "twice", "peer", "0", "1000000000", NULL, NULL}, /* bytes that only move take one way */
    };
    column normed[] = {
        {REDUCE, "alone", "peer", "1000000000", "1000000000", NULL, NULL},
        {ADD_NORM, "with norm", "peer", "1000000000", "1000000000", NULL, NULL},
    };
    column *columns = b.norm ? normed : all;
    int n = b.norm ? 2 : b.gather ? 3 : 4;
    status_detail detail;
    ok(world_open(lost, NULL, &b.w, &detail), &detail);
    cuda_ok(cudaSetDevice(b.shared ? 0 : world_local_rank(b.w)), "a GPU for each rank");
    cuda_ok(cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking), "stream");
    take_buffers(&b);
    for (int i = 0; i < n; i++) open_column(&b, &columns[i]);
    print_table(&b, columns, n);
    for (int i = n; i-- > 0;) comm_close(columns[i].c);
    cuda_ok(cudaFree(b.out), "memory");
    cuda_ok(cudaFree(b.fresh), "memory");
    cuda_ok(cudaFree(b.data), "memory");
    cuda_ok(cudaStreamDestroy(b.stream), "stream");
    world_close(b.w);
    return 0;
}
