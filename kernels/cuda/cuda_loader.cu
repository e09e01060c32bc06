#include "kernels/cuda/cuda_loader.cuh"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* PIECE: bytes that go up at once. Two buffers a thread, so at most 512 MB are page-locked, and as much device memory
 * while loading. Reading from the page cache took 17 GB/s with 4 threads, 33 with 8, 40 with 12 and 42 with 16, where the bus does 55. */
enum {
    MAX_THREADS = 16,
    REPORTS_A_SECOND = 5,
    MIN_THREADS = 2,
    BUFFERS = 2,
    PIECE = 16 << 20,
    SMALL_PIECE = 1 << 20,
    LEAST_POPULATE = 1 << 16,
    TAG_SHIFT = 40
};

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older kernels answer EINVAL */
#endif

/* Rows [first, first + n) of a job, counted through its batches. */
typedef struct piece {
    cuda_loader_job job;
    int64_t first, n;
    uint64_t number; /* of the job */
} piece;

typedef struct buffer {
    uint8_t *host;   /* page-locked, [capacity] */
    uint8_t *device; /* MXFP4 as in the file, before it is repacked, [capacity] */
    size_t capacity;
    cudaEvent_t free; /* recorded when nothing uses the buffer any more */
} buffer;

typedef struct worker {
    struct cuda_loader *loader;
    pthread_t thread;
    cudaStream_t stream;
    buffer buffers[BUFFERS];
    int next;
} worker;

struct cuda_loader {
    int device;
    unsigned long long *bad; /* device: see cuda_tiles_repack; a tag is a job's number << TAG_SHIFT */
    worker workers[MAX_THREADS];
    int n_workers;
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t changed; /* jobs came, or `closing` */
    cuda_loader_job *jobs;
    size_t n_jobs, room, current; /* jobs[current] is being cut into pieces */
    int64_t row;                  /* of the current job: where its next piece begins */
    int64_t bytes;                /* of the pieces that were read */
    int idle;                     /* threads that have ended */
    bool closing;                 /* no more jobs come */
    status state;                 /* the first failure; nothing is begun after it */
    status_detail detail;
};

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

/* Bytes of a row: codes or BF16 values, then scales. */
static size_t code_bytes(const ops_weight *w) { return (size_t)(w->format == OPS_MXFP4 ? w->cols / 2 : w->cols * 2); }
static size_t scale_bytes(const ops_weight *w) { return w->format == OPS_MXFP4 ? (size_t)(w->cols / 32) : 0; }

static int64_t piece_rows(const ops_weight *w)
{
    int64_t unit = w->format == OPS_MXFP4 ? MXFP4_TILE_ROWS : 1,
            rows = PIECE / (int64_t)(code_bytes(w) + scale_bytes(w)) / unit * unit;
    return rows > 0 ? rows : unit;
}

static void fail(struct cuda_loader *l, status state, const status_detail *detail)
{
    pthread_mutex_lock(&l->lock);
    if (l->state == STATUS_OK) {
        l->state = state;
        l->detail = *detail;
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

/* False when there is nothing more to do. */
static bool next_piece(struct cuda_loader *l, piece *out)
{
    pthread_mutex_lock(&l->lock);
    while (l->current == l->n_jobs && !l->closing && l->state == STATUS_OK) pthread_cond_wait(&l->changed, &l->lock);
    bool any = l->current < l->n_jobs && l->state == STATUS_OK;
    if (any) {
        out->job = l->jobs[l->current];
        const ops_weight *w = &out->job.view;
        int64_t rows = w->batches * w->rows, most = piece_rows(w);
        out->number = l->current;
        out->first = l->row;
        out->n = rows - l->row < most ? rows - l->row : most;
        l->row += out->n;
        if (l->row == rows) {
            l->current++;
            l->row = 0;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return any;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Maps the pages before they are read: an input error, which would be a signal later, is a return value here. */
static bool readable(const uint8_t *from, size_t bytes)
{
    if (bytes < LEAST_POPULATE) return true;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)from / page * page,
              end = (uintptr_t)from + bytes;
    return madvise((void *)start, end - start, MADV_POPULATE_READ) == 0 ||
           (errno != EFAULT && errno != EHWPOISON && errno != ENOMEM);
}

/* Rows of `width` bytes, counted through batches of `rows`, packed one after the other. */
static bool gather(uint8_t *to, const uint8_t *from, size_t width, int64_t rows, int64_t row_stride,
                   int64_t batch_stride, int64_t first, int64_t n)
{
    while (n > 0) {
        int64_t row = first % rows, run = rows - row < n ? rows - row : n;
        const uint8_t *start = from + first / rows * batch_stride + row * row_stride;
        bool packed = run == 1 || row_stride == (int64_t)width;
        if (!readable(start, (size_t)(run - 1) * (size_t)row_stride + width)) return false;
        for (int64_t i = 0; i < (packed ? 1 : run); i++)
            memcpy(to + (size_t)i * width, start + i * row_stride, packed ? width * (size_t)run : width);
        to += width * (size_t)run;
        first += run;
        n -= run;
    }
    return true;
}

static status read_piece(const piece *p, uint8_t *to, status_detail *detail)
{
    const ops_weight *w = &p->job.view;
    size_t codes = code_bytes(w), scales = scale_bytes(w);
    bool whole = gather(to, (const uint8_t *)w->data, codes, w->rows, w->row_stride, w->batch_stride, p->first, p->n);
    if (whole && scales)
        whole = gather(to + codes * (size_t)p->n, w->scales, scales, w->rows, w->scale_row_stride,
                       w->scale_batch_stride, p->first, p->n);
    if (whole) return STATUS_OK;
    return status_fail(detail, STATUS_MODEL,
                       "a model file cannot be read any more (%s): it was cut short while loading, or its disk fails; "
                       "look at the kernel log",
                       strerror(errno));
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static status check(cudaError_t result, const char *what, status_detail *detail)
{
    if (result == cudaSuccess) return STATUS_OK;
    cudaGetLastError();
    if (result != cudaErrorMemoryAllocation)
        return status_fail(detail, STATUS_MACHINE, "loading weights: %s: %s", what, cudaGetErrorString(result));
    return status_fail(detail, STATUS_MACHINE,
                       "loading weights: no %s: up to %d MB are needed besides the weights; end other programs, raise "
                       "ulimit -l, or run on more GPUs",
                       what, MAX_THREADS * BUFFERS * (PIECE >> 20));
}

/* Waits until the buffer is free, and makes it large enough. Most tensors are either tiny or cut into full pieces. */
static status ready_buffer(buffer *b, size_t bytes, status_detail *detail)
{
    STATUS_TRY(check(cudaEventSynchronize(b->free), "a copy", detail));
    if (bytes <= b->capacity) return STATUS_OK;
    size_t wanted = bytes <= SMALL_PIECE ? (size_t)SMALL_PIECE : bytes <= PIECE ? (size_t)PIECE : bytes;
    if (b->host) cudaFreeHost(b->host);
    if (b->device) cudaFree(b->device);
    b->host = b->device = NULL;
    b->capacity = 0;
    STATUS_TRY(check(cudaHostAlloc((void **)&b->host, wanted, cudaHostAllocDefault), "page-locked memory", detail));
    STATUS_TRY(check(cudaMalloc((void **)&b->device, wanted), "device memory", detail));
    b->capacity = wanted;
    return STATUS_OK;
}

static status load_piece(worker *w, const piece *p, status_detail *detail)
{
    const cuda_loader_job *job = &p->job;
    buffer *b = &w->buffers[w->next];
    size_t codes = code_bytes(&job->view) * (size_t)p->n, bytes = codes + scale_bytes(&job->view) * (size_t)p->n;
    w->next = (w->next + 1) % BUFFERS;
    STATUS_TRY(ready_buffer(b, bytes, detail));
    STATUS_TRY(read_piece(p, b->host, detail));
    pthread_mutex_lock(&w->loader->lock);
    w->loader->bytes += (int64_t)bytes;
    pthread_mutex_unlock(&w->loader->lock);
    bool packs = job->view.format == OPS_MXFP4;
    uint8_t *to = packs ? b->device : job->out + codes / (size_t)p->n * (size_t)p->first;
    STATUS_TRY(check(cudaMemcpyAsync(to, b->host, bytes, cudaMemcpyHostToDevice, w->stream), "a copy", detail));
    if (packs) {
        cuda_tiles_repack(w->stream, &job->tiles, p->first, p->n, b->device, b->device + codes, p->number << TAG_SHIFT,
                          w->loader->bad);
        STATUS_TRY(check(cudaGetLastError(), "repacking", detail));
    }
    return check(cudaEventRecord(b->free, w->stream), "a copy", detail);
}

static status open_worker(worker *w, status_detail *detail)
{
    STATUS_TRY(check(cudaSetDevice(w->loader->device), "a thread", detail));
    STATUS_TRY(check(cudaStreamCreateWithFlags(&w->stream, cudaStreamNonBlocking), "a stream", detail));
    for (int i = 0; i < BUFFERS; i++)
        STATUS_TRY(check(cudaEventCreateWithFlags(&w->buffers[i].free, cudaEventDisableTiming | cudaEventBlockingSync),
                         "an event", detail));
    return STATUS_OK;
}

static void close_worker(worker *w)
{
    for (int i = 0; i < BUFFERS; i++) {
        buffer *b = &w->buffers[i];
        if (b->device) cudaFree(b->device);
        if (b->host) cudaFreeHost(b->host);
        if (b->free) cudaEventDestroy(b->free);
    }
    if (w->stream) cudaStreamDestroy(w->stream);
}

static void *run_worker(void *argument)
{
    worker *w = (worker *)argument;
    status_detail detail = {""};
    piece p;
    status state = open_worker(w, &detail);
    while (state == STATUS_OK && next_piece(w->loader, &p)) state = load_piece(w, &p, &detail);
    if (w->stream) {
        cudaError_t drained = cudaStreamSynchronize(w->stream);
        if (state == STATUS_OK) state = check(drained, "a copy", &detail);
    }
    if (state != STATUS_OK) fail(w->loader, state, &detail);
    close_worker(w);
    pthread_mutex_lock(&w->loader->lock);
    w->loader->idle++;
    pthread_cond_broadcast(&w->loader->changed);
    pthread_mutex_unlock(&w->loader->lock);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static int thread_count(int asked)
{
    long cores = asked > 0 ? asked : sysconf(_SC_NPROCESSORS_ONLN);
    return cores < MIN_THREADS ? MIN_THREADS : cores > MAX_THREADS ? MAX_THREADS : (int)cores;
}

static status begin(ops_context *c, status_detail *detail)
{
    void *bad;
    STATUS_TRY(cuda_allocate(c, sizeof(unsigned long long), &bad, detail));
    STATUS_TRY(check(cudaMemset(bad, 0xff, sizeof(unsigned long long)), "device memory", detail));
    struct cuda_loader *l = (struct cuda_loader *)calloc(1, sizeof *l);
    if (!l) return status_fail(detail, STATUS_MACHINE, "no host memory for loading weights");
    l->device = c->device;
    l->bad = (unsigned long long *)bad;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    c->loader = l;
    for (int wanted = thread_count(c->threads); l->n_workers < wanted; l->n_workers++) {
        worker *w = &l->workers[l->n_workers];
        w->loader = l;
        int error = pthread_create(&w->thread, NULL, run_worker, w);
        if (error && l->n_workers == 0) {
            cuda_loader_close(c);
            return status_fail(detail, STATUS_MACHINE, "no thread can be started to load weights: %s", strerror(error));
        }
        if (error) break; /* fewer threads are slower, not wrong */
    }
    return STATUS_OK;
}

status cuda_loader_add(ops_context *c, const cuda_loader_job *job, status_detail *detail)
{
    status state = STATUS_OK;
    if (!c->loader) STATUS_TRY(begin(c, detail));
    struct cuda_loader *l = c->loader;
    pthread_mutex_lock(&l->lock);
    if (l->n_jobs == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        cuda_loader_job *grown = (cuda_loader_job *)realloc(l->jobs, room * sizeof *grown);
        if (grown) {
            l->jobs = grown;
            l->room = room;
        } else {
            state = status_fail(detail, STATUS_MACHINE, "no host memory for loading weights");
        }
    }
    if (state == STATUS_OK) {
        l->jobs[l->n_jobs++] = *job;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return state;
}

static void join(struct cuda_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    while (l->n_workers > 0) pthread_join(l->workers[--l->n_workers].thread, NULL);
}

/* Until all threads have ended, telling how far they are. */
static void watch(ops_context *c)
{
    struct cuda_loader *l = c->loader;
    struct timespec next;
    clock_gettime(CLOCK_REALTIME, &next); /* what the condition's clock is */
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->changed);
    while (l->idle < l->n_workers) {
        next.tv_nsec += 1000000000 / REPORTS_A_SECOND;
        if (next.tv_nsec >= 1000000000) next.tv_sec++, next.tv_nsec -= 1000000000;
        while (l->idle < l->n_workers && pthread_cond_timedwait(&l->changed, &l->lock, &next) != ETIMEDOUT) {}
        int64_t bytes = l->bytes;
        pthread_mutex_unlock(&l->lock);
        c->loading(c->loading_user, bytes);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

static void destroy(ops_context *c)
{
    struct cuda_loader *l = c->loader;
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->jobs);
    free(l);
    c->loader = NULL;
}

void cuda_loader_close(ops_context *c)
{
    status_detail detail = {"closed"};
    if (!c->loader) return;
    fail(c->loader, STATUS_INTERNAL, &detail);
    join(c->loader);
    destroy(c);
}

/* What the repack kernels found. */
static status check_scales(const struct cuda_loader *l, status_detail *detail)
{
    unsigned long long bad = 0;
    STATUS_TRY(check(cudaMemcpy(&bad, l->bad, sizeof bad, cudaMemcpyDeviceToHost), "a copy", detail));
    if (bad == ~0ull) return STATUS_OK;
    const ops_weight *w = &l->jobs[bad >> TAG_SHIFT].view;
    int64_t row = (int64_t)(bad & (((uint64_t)1 << TAG_SHIFT) - 1));
    return status_fail(detail, STATUS_MODEL,
                       "an MXFP4 scale exceeds %d (a factor of 2^%d) in row %" PRId64 " of matrix %" PRId64
                       " of a stack of %" PRId64 " [%" PRId64 ", %" PRId64
                       "]: the CUDA backend cannot hold it; is the checkpoint damaged? backend: cpu takes any",
                       MXFP4_MAX_SCALE, MXFP4_MAX_SCALE - 127, row % w->rows, row / w->rows, w->batches, w->rows,
                       w->cols);
}

status cuda_loader_finish(ops_context *c, status_detail *detail)
{
    struct cuda_loader *l = c->loader;
    if (!l) return STATUS_OK;
    if (c->loading) watch(c);
    join(l);
    status state = l->state;
    if (state == STATUS_OK)
        state = check_scales(l, detail);
    else if (detail)
        *detail = l->detail;
    destroy(c);
    return state;
}
