/* Everything that lives until close, in one list. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

enum { ALIGNMENT = 256 };
typedef enum memory_kind { MEMORY_DEVICE, MEMORY_HOST, MEMORY_PINNED } memory_kind;

struct cuda_memory {
    struct cuda_memory *next;
    memory_kind kind;
    void *start;
};

static status remember(ops_context *c, memory_kind kind, void **out, struct cuda_memory *entry, void *start)
{
    entry->next = c->memory;
    entry->kind = kind;
    entry->start = start;
    c->memory = entry;
    *out = start;
    return STATUS_OK;
}

static double gigabytes(size_t bytes) { return (double)bytes / 1e9; }

static status no_host_memory(size_t bytes, status_detail *detail)
{
    return status_fail(
        detail, STATUS_MACHINE,
        "no host memory for %zu bytes of the CUDA backend: lower engine.max_sequences or engine.max_tokens_per_step",
        bytes);
}

status cuda_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail)
{
    struct cuda_memory *entry = (struct cuda_memory *)malloc(sizeof *entry);
    size_t free_bytes = 0, all_bytes = 0;
    void *start = NULL;
    if (!entry) return no_host_memory(sizeof *entry, detail);
    cudaError_t result = cudaSetDevice(c->device);
    if (result == cudaSuccess) result = cudaMalloc(&start, bytes ? bytes : (size_t)ALIGNMENT);
    if (result == cudaSuccess) return remember(c, MEMORY_DEVICE, out, entry, start);
    free(entry);
    if (result != cudaErrorMemoryAllocation) {
        cuda_check(c, result, "taking device memory");
        return cuda_report(c, detail);
    }
    cudaGetLastError(); /* or the next launch would be blamed */
    if (cudaMemGetInfo(&free_bytes, &all_bytes) != cudaSuccess) cudaGetLastError();
    return status_fail(detail, STATUS_MACHINE,
                       "GPU %d has no room for %zu more bytes: %.2f of its %.2f GB are free; lower engine.kv_cache, "
                       "engine.max_sequences or engine.max_tokens_per_step, "
                       "end other programs on it, or run on more GPUs",
                       c->device, bytes, gigabytes(free_bytes), gigabytes(all_bytes));
}

status cuda_host_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail)
{
    struct cuda_memory *entry = (struct cuda_memory *)malloc(sizeof *entry);
    void *start = calloc(1, bytes ? bytes : 1);
    if (entry && start) return remember(c, MEMORY_HOST, out, entry, start);
    free(start);
    free(entry);
    return no_host_memory(bytes, detail);
}

status cuda_pinned_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail)
{
    struct cuda_memory *entry = (struct cuda_memory *)malloc(sizeof *entry);
    void *start = NULL;
    if (!entry) return no_host_memory(sizeof *entry, detail);
    cudaError_t result = cudaSetDevice(c->device);
    if (result == cudaSuccess)
        result = cudaHostAlloc(&start, bytes ? bytes : 1, cudaHostAllocPortable | cudaHostAllocMapped);
    if (result == cudaSuccess) {
        memset(start, 0, bytes);
        return remember(c, MEMORY_PINNED, out, entry, start);
    }
    free(entry);
    cudaGetLastError();
    return status_fail(detail, STATUS_MACHINE,
                       "%zu bytes of host memory cannot be page-locked (%s): lower engine.max_sequences or "
                       "engine.max_tokens_per_step, or raise ulimit -l",
                       bytes, cudaGetErrorString(result));
}

void cuda_memory_free(ops_context *c)
{
    while (c->memory) {
        struct cuda_memory *entry = c->memory;
        c->memory = entry->next;
        switch (entry->kind) {
        case MEMORY_DEVICE: cudaFree(entry->start); break;
        case MEMORY_HOST: free(entry->start); break;
        case MEMORY_PINNED: cudaFreeHost(entry->start); break;
        }
        free(entry);
    }
}
