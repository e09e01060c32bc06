/* What the tests of comm on device memory share: a GPU and a stream for each rank, and buffers.
 *
 * Each rank takes the GPU of its local rank; with $GPTOSS_SHARE_GPU=1 all take GPU 0, as `parallel.share_gpu` makes them. */
#ifndef TESTS_COMM_DEVICE_RANK_H
#define TESTS_COMM_DEVICE_RANK_H

#include "tests/comm/ranks.h"

#include <cuda_runtime_api.h>

enum { DEVICE_RANK_SKIPPED = 77 }; /* what ctest takes for a skip */

typedef struct device_rank {
    world *w;
    bool shared; /* all ranks on one GPU */
    cudaStream_t stream;
} device_rank;

/* The tests' main: opens the world, takes a GPU, runs the group with a device_rank as state. Where there are too few GPUs it
 * says so in one line and returns DEVICE_RANK_SKIPPED. */
int device_rank_run(const char *name, const struct CMUnitTest *tests, size_t n_tests);

/* Transports that can serve this job: "peer", and "nccl" where no GPU is shared. Ends with NULL. */
const char *const *device_rank_transports(const device_rank *d);
/* A group over one of them, for large messages. */
comm *device_rank_open(const device_rank *d, int color, const char *transport);

/* World ranks of a group: those with this color when rank r has color r % n_colors. */
typedef struct device_members {
    int world_ranks[64], size;
} device_members;
device_members device_rank_members(const device_rank *d, int n_colors);

#define device_rank_assert(call) device_rank_assert_cuda((call), #call)
void device_rank_assert_cuda(cudaError_t code, const char *call);

void *device_rank_pinned(size_t bytes);
void *device_rank_device(size_t bytes); /* poisoned with 0xff: NaN in F32 and BF16, -1 as an integer */
/* On the stream; pinned memory for `host` if it is to be captured. Size 0 and NULL are fine. */
void device_rank_up(const device_rank *d, void *device, const void *host, size_t bytes);
void device_rank_down(const device_rank *d, void *host, const void *device, size_t bytes);
void device_rank_wait(const device_rank *d);

/* What is issued between begin and end becomes the graph. */
void device_rank_capture_begin(const device_rank *d);
cudaGraphExec_t device_rank_capture_end(const device_rank *d);

#endif
