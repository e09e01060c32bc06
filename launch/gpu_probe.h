/* The NVIDIA driver and its GPUs, asked through libraries that are loaded only if they are there: works in a build without CUDA. */
#ifndef LAUNCH_GPU_PROBE_H
#define LAUNCH_GPU_PROBE_H

#include <stdbool.h>
#include <stdint.h>

enum { GPU_PROBE_MAX = 16 };

typedef struct gpu_probe_device {
    char name[96];
    int major, minor;          /* compute capability */
    int64_t memory, memory_used; /* bytes; used: -1 where NVML does not tell */
    bool peer[GPU_PROBE_MAX];  /* whether it can read that device's memory */
} gpu_probe_device;

typedef struct gpu_probe {
    char error[192];      /* why there are no devices; "" when there are */
    char driver[64];      /* "580.65.06"; "" unknown */
    int cuda_version;     /* the newest that the driver runs, 1000 * major + 10 * minor; 0 unknown */
    int nccl_version;     /* of the NCCL library found, 10000 * major + 100 * minor + patch; 0: none */
    int count;            /* devices this process may see, CUDA_VISIBLE_DEVICES applied; at most GPU_PROBE_MAX are told of */
    gpu_probe_device devices[GPU_PROBE_MAX];
} gpu_probe;

/* Takes no device: nothing is left on it. */
void gpu_probe_run(gpu_probe *out);

#endif
