/* Driver, GPUs, peer access, NCCL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/doctor.h"
#include "runtime/base/bytes.h"

/* The oldest compute capability that the CUDA backend is compiled for. */
enum { LEAST_MAJOR = 8 };

#ifdef GPTOSS_CUDA_VERSION
static const char built_with[] = GPTOSS_CUDA_VERSION;
#else
static const char built_with[] = "";
#endif

static void check_build(doctor *d)
{
    if (d->built_with_cuda)
        doctor_line(d, DOCTOR_OK, STATUS_OK, "build", NULL, "has the CUDA backend");
    else
        doctor_line(d, doctor_gpu_level(d), STATUS_MACHINE, "build",
                    doctor_gpu_level(d) == DOCTOR_OK ? NULL : "put nvcc of the CUDA Toolkit into PATH and build again with -DGPTOSS_CUDA=ON",
                    "without the CUDA backend: only the CPU computes");
}

static void check_driver(doctor *d)
{
    const gpu_probe *g = &d->gpu;
    doctor_level lacking = doctor_gpu_level(d);
    if (*g->error) {
        doctor_line(d, lacking, STATUS_MACHINE, "GPU driver",
                    lacking == DOCTOR_OK ? NULL
                                         : "look at nvidia-smi and CUDA_VISIBLE_DEVICES; in a container: docker run --gpus all; without a GPU: "
                                           "--backend cpu",
                    "%s", g->error);
        return;
    }
    /* Within a major version a driver runs what a newer toolkit built: CUDA's minor version compatibility. */
    bool old = atoi(built_with) > g->cuda_version / 1000;
    doctor_line(d, old ? lacking : DOCTOR_OK, STATUS_MACHINE, "GPU driver", old && lacking != DOCTOR_OK ? "install a newer NVIDIA driver" : NULL,
                "version %s, runs CUDA up to %d.%d%s%s", *g->driver ? g->driver : "unknown", g->cuda_version / 1000, g->cuda_version % 1000 / 10,
                *built_with ? "; this program was built with CUDA " : "", built_with);
}

static void check_device(doctor *d, int index)
{
    const gpu_probe_device *gpu = &d->gpu.devices[index];
    char what[16], total[32], used[32], others[64] = "";
    snprintf(what, sizeof what, "GPU %d", index);
    bool busy = gpu->memory_used > gpu->memory / 10;
    if (gpu->memory_used >= 0) snprintf(others, sizeof others, ", %s in use", bytes_format(gpu->memory_used, used));
    bool old = gpu->major < LEAST_MAJOR;
    doctor_line(d, old ? doctor_gpu_level(d) : busy ? DOCTOR_WARN : DOCTOR_OK, STATUS_MACHINE, what,
                old    ? "take a GPU of compute capability 8.0 or later, or --backend cpu"
                : busy ? "nvidia-smi shows by whom; leave that GPU out with CUDA_VISIBLE_DEVICES, or end them"
                       : NULL,
                "%s, compute capability %d.%d, %s%s", gpu->name, gpu->major, gpu->minor, bytes_format(gpu->memory, total), others);
}

/* A line of the matrix: from one GPU to which others. */
static void check_peers(doctor *d)
{
    char missing[256] = "";
    int pairs = 0, reachable = 0;
    for (int a = 0; a < d->gpu.count; a++) {
        for (int b = 0; b < d->gpu.count; b++) {
            if (a == b) continue;
            pairs++;
            reachable += d->gpu.devices[a].peer[b];
            size_t used = strlen(missing);
            if (!d->gpu.devices[a].peer[b] && used < sizeof missing - 16)
                snprintf(missing + used, sizeof missing - used, "%s%d to %d", used ? ", " : "", a, b);
        }
    }
    if (reachable == pairs)
        doctor_line(d, DOCTOR_OK, STATUS_OK, "peer access", NULL, "each of %d GPUs reads all others' memory", d->gpu.count);
    else
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "peer access",
                    "nvidia-smi topo -p2p r says why; mostly ACS or an IOMMU: until then small sums go by NCCL and take longer",
                    "missing from GPU %s (%d of %d pairs)", missing, pairs - reachable, pairs);
}

static void check_nccl(doctor *d)
{
    int version = d->gpu.nccl_version;
    if (version)
        doctor_line(d, DOCTOR_OK, STATUS_OK, "NCCL", NULL, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    else
        doctor_line(d, d->gpu.count > 1 && d->built_with_cuda ? doctor_gpu_level(d) : DOCTOR_OK, STATUS_MACHINE, "NCCL",
                    d->gpu.count > 1 ? "apt install libnccl2, or put the folder of libnccl.so.2 into LD_LIBRARY_PATH" : NULL,
                    "libnccl.so.2 is not here; needed only for several GPUs");
}

void doctor_gpu_check(doctor *d)
{
    check_build(d);
    check_driver(d);
    for (int i = 0; i < d->gpu.count; i++) check_device(d, i);
    if (d->gpu.count > 1) check_peers(d);
    check_nccl(d);
}
