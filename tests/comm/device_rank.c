#include "tests/comm/device_rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 280 }; /* ranks on one GPU take turns of milliseconds */

static device_rank here; /* cmocka's group set-up takes no argument */

static int setup(void **state)
{
    *state = &here;
    return 0;
}

/* Why this job cannot run here, or an empty text; the same on all ranks of a host. */
static void missing(const device_rank *d, char *why, size_t size)
{
    int devices = 0, ranks = world_local_size(d->w);
    cudaError_t code = cudaGetDeviceCount(&devices);
    why[0] = '\0';
    if (code != cudaSuccess)
        snprintf(why, size, "no GPU here (%s)", cudaGetErrorString(code));
    else if (!d->shared && devices < ranks)
        snprintf(why, size, "%d ranks want a GPU each, and this host has %d", ranks, devices);
}

static void take_gpu(device_rank *d)
{
    device_rank_assert(cudaSetDevice(d->shared ? 0 : world_local_rank(d->w)));
    device_rank_assert(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
}

int device_rank_run(const char *name, const struct CMUnitTest *tests, size_t n_tests)
{
    void *opened;
    char why[256];
    const char *share = getenv("GPTOSS_SHARE_GPU");
    if (ranks_setup(&opened) != 0) return 1;
    alarm(LIMIT_SECONDS);
    here = (device_rank){.w = opened, .shared = share && strcmp(share, "1") == 0};
    missing(&here, why, sizeof why);
    int code = DEVICE_RANK_SKIPPED;
    if (!*why) {
        take_gpu(&here);
        code = _cmocka_run_group_tests(name, tests, n_tests, setup, NULL);
        device_rank_assert(cudaStreamDestroy(here.stream));
    } else if (world_rank(here.w) == 0) {
        printf("skipped: %s: %s\n", name, why);
        fflush(stdout);
    }
    ranks_teardown(&opened);
    return code;
}

const char *const *device_rank_transports(const device_rank *d)
{
    static const char *const apart[] = {"peer", "nccl", NULL}, *const together[] = {"peer", NULL};
    return d->shared && world_size(d->w) > 1 ? together : apart;
}

comm *device_rank_open(const device_rank *d, int color, const char *transport)
{
    comm_options options = {.transport = transport, .stream = d->stream, .max_bytes = (size_t)16 << 20};
    status_detail detail;
    comm *c;
    ranks_assert_ok(comm_open(d->w, color, &options, &c, &detail), &detail);
    return c;
}

device_members device_rank_members(const device_rank *d, int n_colors)
{
    device_members m = {.size = 0};
    for (int r = world_rank(d->w) % n_colors; r < world_size(d->w); r += n_colors) m.world_ranks[m.size++] = r;
    return m;
}

void device_rank_assert_cuda(cudaError_t code, const char *call)
{
    if (code == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(code));
    abort();
}

void *device_rank_pinned(size_t bytes)
{
    void *p;
    device_rank_assert(cudaMallocHost(&p, bytes + 1));
    return p;
}

void *device_rank_device(size_t bytes)
{
    void *p;
    device_rank_assert(cudaMalloc(&p, bytes + 1));
    device_rank_assert(cudaMemset(p, 0xff, bytes + 1));
    device_rank_assert(cudaDeviceSynchronize());
    return p;
}

void device_rank_up(const device_rank *d, void *device, const void *host, size_t bytes)
{
    if (bytes) device_rank_assert(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, d->stream));
}

void device_rank_down(const device_rank *d, void *host, const void *device, size_t bytes)
{
    if (bytes) device_rank_assert(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, d->stream));
}

void device_rank_wait(const device_rank *d) { device_rank_assert(cudaStreamSynchronize(d->stream)); }

void device_rank_capture_begin(const device_rank *d)
{
    device_rank_assert(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal));
}

cudaGraphExec_t device_rank_capture_end(const device_rank *d)
{
    cudaGraph_t graph;
    cudaGraphExec_t made;
    device_rank_assert(cudaStreamEndCapture(d->stream, &graph));
    device_rank_assert(cudaGraphInstantiate(&made, graph, 0));
    device_rank_assert(cudaGraphDestroy(graph));
    return made;
}
