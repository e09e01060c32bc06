/* Signatures: NVIDIA CUDA driver API, NVML and NCCL references; all three keep them stable between versions. */
#include "launch/gpu_probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { COMPUTE_MAJOR = 75, COMPUTE_MINOR = 76 }; /* CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_... */

typedef struct cuda_driver {
    int (*init)(unsigned flags);
    int (*version)(int *version);
    int (*error_name)(int error, const char **name);
    int (*count)(int *count);
    int (*device)(int *device, int ordinal);
    int (*name)(char *name, int size, int device);
    int (*memory)(size_t *bytes, int device);
    int (*attribute)(int *value, int attribute, int device);
    int (*peer)(int *can, int device, int other);
    int (*bus_id)(char *id, int size, int device);
} cuda_driver;

typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*driver)(char *version, unsigned size);
    int (*handle)(const char *bus_id, void **device);
    int (*memory)(void *device, nvml_memory *out);
} nvml;

/* POSIX wants a function's address read through a pointer to an object. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool load_driver(void *library, cuda_driver *d)
{
    return find(library, "cuInit", &d->init) && find(library, "cuDriverGetVersion", &d->version) &&
           find(library, "cuGetErrorName", &d->error_name) && find(library, "cuDeviceGetCount", &d->count) &&
           find(library, "cuDeviceGet", &d->device) && find(library, "cuDeviceGetName", &d->name) &&
           find(library, "cuDeviceTotalMem_v2", &d->memory) && find(library, "cuDeviceGetAttribute", &d->attribute) &&
           find(library, "cuDeviceCanAccessPeer", &d->peer) && find(library, "cuDeviceGetPCIBusId", &d->bus_id);
}

static bool load_nvml(void *library, nvml *n)
{
    return find(library, "nvmlInit_v2", &n->init) && find(library, "nvmlShutdown", &n->shutdown) &&
           find(library, "nvmlSystemGetDriverVersion", &n->driver) &&
           find(library, "nvmlDeviceGetHandleByPciBusId_v2", &n->handle) && find(library, "nvmlDeviceGetMemoryInfo", &n->memory);
}

static void read_device(const cuda_driver *d, int ordinal, int count, gpu_probe_device *out)
{
    int device = 0, other = 0, can = 0;
    size_t memory = 0;
    *out = (gpu_probe_device){.memory_used = -1};
    if (d->device(&device, ordinal)) return;
    d->name(out->name, sizeof out->name, device);
    d->attribute(&out->major, COMPUTE_MAJOR, device);
    d->attribute(&out->minor, COMPUTE_MINOR, device);
    if (!d->memory(&memory, device)) out->memory = (int64_t)memory;
    for (int i = 0; i < count; i++)
        out->peer[i] = i == ordinal || (!d->device(&other, i) && !d->peer(&can, device, other) && can);
}

static void read_driver(const cuda_driver *d, gpu_probe *out)
{
    const char *name = NULL;
    d->version(&out->cuda_version);
    int error = d->init(0);
    if (!error) error = d->count(&out->count);
    if (error) {
        d->error_name(error, &name);
        snprintf(out->error, sizeof out->error, "the driver answers %s (%d)", name ? name : "an unknown error", error);
        out->count = 0;
        return;
    }
    if (out->count == 0) snprintf(out->error, sizeof out->error, "the driver is there, but shows no GPU to this process");
    if (out->count > GPU_PROBE_MAX) out->count = GPU_PROBE_MAX;
    for (int i = 0; i < out->count; i++) read_device(d, i, out->count, &out->devices[i]);
}

/* What others use of the memory: NVML tells without taking the device. */
static void read_nvml(const nvml *n, const cuda_driver *d, gpu_probe *out)
{
    if (n->init()) return;
    if (n->driver(out->driver, sizeof out->driver)) out->driver[0] = '\0';
    for (int i = 0; d && i < out->count; i++) {
        char bus_id[32];
        int device;
        void *handle;
        nvml_memory memory;
        if (!d->device(&device, i) && !d->bus_id(bus_id, sizeof bus_id, device) && !n->handle(bus_id, &handle) && !n->memory(handle, &memory))
            out->devices[i].memory_used = (int64_t)memory.used;
    }
    n->shutdown();
}

static void read_nccl(gpu_probe *out)
{
    int (*version)(int *) = NULL;
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    if (find(library, "ncclGetVersion", &version) && version(&out->nccl_version)) out->nccl_version = 0;
    dlclose(library);
}

void gpu_probe_run(gpu_probe *out)
{
    cuda_driver driver;
    nvml management;
    *out = (gpu_probe){.error = ""};
    read_nccl(out);

    void *cuda_library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    bool usable = cuda_library && load_driver(cuda_library, &driver);
    if (usable)
        read_driver(&driver, out);
    else
        snprintf(out->error, sizeof out->error, "%s", cuda_library ? "libcuda.so.1 is too old" : "libcuda.so.1 is not here: no NVIDIA driver");
    void *nvml_library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (nvml_library && load_nvml(nvml_library, &management)) read_nvml(&management, usable ? &driver : NULL, out);
    if (nvml_library) dlclose(nvml_library);
    /* libcuda stays: it keeps threads and state that cannot be unloaded. */
}
