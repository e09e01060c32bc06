/* The CUDA backend: its table, taking and giving back a GPU, shapes, and errors. */
#include <stdlib.h>

#include "kernels/cuda/cuda_mxfp4.cuh"
extern "C" {
#include "kernels/ops_table.h"
}

/* A step reads whole blocks of 64 keys; smaller ones would only make longer tables. RESERVE is for what is taken later
 * by others: transports, graphs, kernels that are loaded when first used. */
enum {
    DEFAULT_BLOCK_TOKENS = 64,
    MIN_MAJOR = 8,
    MAX_EXPERTS = 1024,
    MAX_GRID_ROWS = 65535,
    HIDDEN_UNIT = 32,
    ROW_UNIT = 8
};
static const int64_t RESERVE = (int64_t)512 << 20;

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static bool is_defect(cudaError_t error)
{
    switch (error) {
    case cudaErrorMemoryAllocation:
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorDeviceUninitialized:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorSystemNotReady: return false;
    default: return true;
    }
}

status cuda_report(ops_context *c, status_detail *detail)
{
    if (c->failed == cudaSuccess) return STATUS_OK;
    const char *what = cudaGetErrorString(c->failed), *name = cudaGetErrorName(c->failed);
    if (!is_defect(c->failed))
        return status_fail(detail, STATUS_MACHINE,
                           "GPU %d failed at %s: %s (%s); look at nvidia-smi and the kernel log, then start again",
                           c->device, c->failed_where, what, name);
    return status_fail(detail, STATUS_INTERNAL,
                       "GPU %d: %s failed, or work before it: %s (%s); CUDA_LAUNCH_BLOCKING=1 shows the place, and "
                       "dmesg says whether the GPU itself is at fault",
                       c->device, c->failed_where, what, name);
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

extern "C" bool cuda_present(void)
{
    int count = 0;
    bool present = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    cudaGetLastError();
    return present;
}

static status no_devices(cudaError_t result, status_detail *detail)
{
    int driver = 0, built = 0;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    cudaGetLastError();
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    if (cudaRuntimeGetVersion(&built) != cudaSuccess) built = CUDART_VERSION;
    cudaGetLastError();
    if (driver == 0)
        return status_fail(
            detail, STATUS_MACHINE,
            "no NVIDIA driver on this machine: install one until nvidia-smi lists the GPUs, or set backend: cpu");
    if (result == cudaErrorInsufficientDriver || driver / 1000 < built / 1000)
        return status_fail(detail, STATUS_MACHINE,
                           "the NVIDIA driver knows CUDA up to %d.%d, this build needs %d.%d: update the driver, or "
                           "build with an older CUDA Toolkit",
                           driver / 1000, driver % 1000 / 10, built / 1000, built % 1000 / 10);
    if (result == cudaSuccess || result == cudaErrorNoDevice)
        return status_fail(
            detail, STATUS_MACHINE,
            "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES%s%s): look at nvidia-smi, or set backend: cpu",
            visible ? "=" : " is not set", visible ? visible : "");
    return status_fail(detail, STATUS_MACHINE,
                       "CUDA does not start: %s (%s): look at nvidia-smi and the kernel log, or set backend: cpu",
                       cudaGetErrorString(result), cudaGetErrorName(result));
}

static status find_device(int device, status_detail *detail)
{
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count);
    if (result != cudaSuccess || count == 0) return no_devices(result, detail);
    if (device < 0 || device >= count)
        return status_fail(detail, STATUS_MACHINE,
                           "%d ranks or more on this host but %d GPU%s: rank %d of the host finds none; start as many "
                           "ranks as GPUs, or check CUDA_VISIBLE_DEVICES",
                           device + 1, count, count == 1 ? "" : "s", device);
    return STATUS_OK;
}

__global__ void probe_kernel(void) {}

static status take_device(ops_context *c, bool device_shared, status_detail *detail)
{
    cudaFuncAttributes probe;
    cudaDeviceProp properties;
    int shared = 0, together = 0;
    cudaError_t result = cudaSetDevice(c->device);
    if (result == cudaSuccess) result = cudaGetDeviceProperties(&properties, c->device);
    if (result == cudaSuccess)
        result = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, c->device);
    if (result == cudaSuccess && device_shared) result = cudaDeviceGetAttribute(&together, cudaDevAttrMpsEnabled, c->device);
    if (result != cudaSuccess) goto failed;
    c->sm_count = properties.multiProcessorCount;
    c->major = properties.major;
    c->early = c->major >= 9 && !together;
    c->shared_max = (size_t)shared;
    if (c->major < MIN_MAJOR)
        return status_fail(detail, STATUS_MACHINE, "GPU %d (%s) has compute capability %d.%d: %d.0 or later is needed",
                           c->device, properties.name, properties.major, properties.minor, MIN_MAJOR);
    result = cudaFuncGetAttributes(&probe, probe_kernel);
    if (result == cudaErrorNoKernelImageForDevice || result == cudaErrorInvalidDeviceFunction) {
        cudaGetLastError();
        return status_fail(detail, STATUS_MACHINE,
                           "this build has no code for GPU %d (%s, compute capability %d.%d): build with "
                           "-DGPTOSS_CUDA_ARCHITECTURES=%d%d",
                           c->device, properties.name, properties.major, properties.minor, properties.major,
                           properties.minor);
    }
    if (result == cudaSuccess) result = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
    if (result != cudaSuccess) goto failed;
    if (cublasLtCreate(&c->lt) != CUBLAS_STATUS_SUCCESS)
        return status_fail(detail, STATUS_MACHINE, "cuBLAS does not start on GPU %d: is its memory full?", c->device);
    return STATUS_OK;
failed:
    cudaGetLastError();
    return status_fail(detail, STATUS_MACHINE,
                       "GPU %d cannot be used: %s (%s); is another program holding it, or its memory full?", c->device,
                       cudaGetErrorString(result), cudaGetErrorName(result));
}

static void backend_close(ops_context *c)
{
    cudaSetDevice(c->device);
    cuda_loader_close(c);
    if (c->stream) cudaStreamSynchronize(c->stream);
    cuda_record_close(c);
    cuda_step_close(c);
    cuda_dense_close(c);
    cuda_memory_free(c);
    if (c->lt) cublasLtDestroy(c->lt);
    if (c->stream) cudaStreamDestroy(c->stream);
    cudaGetLastError(); /* what failed was reported before; the next context starts clean */
    free(c);
}

static status backend_open(const ops_options *options, ops_context **out, status_detail *detail)
{
    STATUS_TRY(find_device(options->device, detail));
    ops_context *c = (ops_context *)calloc(1, sizeof *c);
    if (!c) return status_fail(detail, STATUS_MACHINE, "no memory for the CUDA backend");
    c->device = options->device;
    c->threads = options->threads;
    c->loading = options->loading;
    c->loading_user = options->user;
    c->block_tokens = options->block_tokens > 0 ? options->block_tokens : DEFAULT_BLOCK_TOKENS;
    status result = take_device(c, options->device_shared, detail);
    if (result != STATUS_OK) {
        backend_close(c);
        return result;
    }
    *out = c;
    return STATUS_OK;
}

static void backend_caps(ops_context *c, ops_caps *out)
{
    size_t free_bytes = 0, all_bytes = 0;
    cuda_check(c, cudaSetDevice(c->device), "asking for free memory");
    cuda_check(c, cudaMemGetInfo(&free_bytes, &all_bytes), "asking for free memory");
    int64_t left = (int64_t)free_bytes - RESERVE;
    *out = (ops_caps){.name = "cuda",
                      .activation = DTYPE_BF16,
                      .host_memory = false,
                      .asynchronous = true,
                      .batch_invariant = false,
                      .mxfp4_max_scale = MXFP4_MAX_SCALE,
                      .block_tokens = c->block_tokens,
                      .memory_free = left > 0 ? left : 0};
}

/* Not through cuda_check: this may be another thread, and a failure here is none of the context's. */
static bool backend_memory(const ops_context *c, ops_memory *out)
{
    size_t free_bytes = 0, all_bytes = 0;
    if (cudaSetDevice(c->device) != cudaSuccess || cudaMemGetInfo(&free_bytes, &all_bytes) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    *out = (ops_memory){.device = c->device, .used = (int64_t)(all_bytes - free_bytes), .total = (int64_t)all_bytes};
    return true;
}

static void *backend_stream(ops_context *c) { return c->stream; }

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

static status check_shape(const ops_shape *s, status_detail *detail)
{
    if (s->hidden <= 0 || s->hidden > cuda_norm_max_hidden() || s->hidden % HIDDEN_UNIT)
        return status_fail(
            detail, STATUS_MODEL,
            "hidden_size %d does not fit the CUDA backend: multiples of %d up to %d do; use backend: cpu", s->hidden,
            HIDDEN_UNIT, cuda_norm_max_hidden());
    if (s->q_heads <= 0 || s->kv_heads <= 0 || s->q_heads % s->kv_heads || s->head_dim <= 0 || s->head_dim % 2 ||
        s->q_heads * s->head_dim % ROW_UNIT)
        return status_fail(detail, STATUS_MODEL,
                           "%d query and %d key/value heads of size %d on a rank do not fit the CUDA backend: heads "
                           "times size must be a multiple of %d, the size even; use other "
                           "ranks or backend: cpu",
                           s->q_heads, s->kv_heads, s->head_dim, ROW_UNIT);
    if (s->n_experts <= 0 || s->n_experts > MAX_EXPERTS || s->top_k <= 0 || s->top_k > OPS_MAX_TOP_K_EXPERTS ||
        s->top_k > s->n_experts)
        return status_fail(
            detail, STATUS_MODEL,
            "%d of %d experts per token do not fit the CUDA backend: at most %d of %d do; use backend: cpu", s->top_k,
            s->n_experts, OPS_MAX_TOP_K_EXPERTS, MAX_EXPERTS);
    if (s->intermediate % HIDDEN_UNIT)
        return status_fail(detail, STATUS_INTERNAL, "%d columns of an expert on this rank are no multiple of %d",
                           s->intermediate, HIDDEN_UNIT);
    if (s->max_sequences > MAX_GRID_ROWS || s->max_logit_rows > MAX_GRID_ROWS)
        return status_fail(detail, STATUS_USAGE,
                           "%d sequences exceed %d, the CUDA backend's limit: lower engine.max_sequences",
                           s->max_sequences, MAX_GRID_ROWS);
    return STATUS_OK;
}

static status backend_configure(ops_context *c, const ops_shape *shape, status_detail *detail)
{
    STATUS_TRY(check_shape(shape, detail));
    cuda_check(c, cudaSetDevice(c->device), "configuration");
    c->shape = *shape;
    STATUS_TRY(cuda_step_configure(c, detail));
    STATUS_TRY(cuda_dense_configure(c, detail));
    STATUS_TRY(cuda_rope_configure(c, detail));
    STATUS_TRY(cuda_attention_configure(c, detail));
    STATUS_TRY(cuda_route_configure(c, detail));
    STATUS_TRY(cuda_experts_configure(c, detail));
    STATUS_TRY(cuda_logits_configure(c, detail));
    STATUS_TRY(cuda_sampler_configure(c, detail));
    STATUS_TRY(cuda_record_configure(c, detail));
    cuda_check(c, cudaStreamSynchronize(c->stream), "configuration");
    return cuda_report(c, detail);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

static status copy(ops_context *c, void *to, const void *from, size_t bytes, cudaMemcpyKind kind, const char *where,
                   status_detail *detail)
{
    cuda_check(c, cudaSetDevice(c->device), where);
    if (bytes) cuda_check(c, cudaMemcpyAsync(to, from, bytes, kind, c->stream), where);
    cuda_check(c, cudaStreamSynchronize(c->stream), where);
    return cuda_report(c, detail);
}

static status backend_upload(ops_context *c, void *device, const void *host, size_t bytes, status_detail *detail)
{
    return copy(c, device, host, bytes, cudaMemcpyHostToDevice, "upload", detail);
}

static status backend_download(ops_context *c, void *host, const void *device, size_t bytes, status_detail *detail)
{
    return copy(c, host, device, bytes, cudaMemcpyDeviceToHost, "download", detail);
}

extern "C" const ops cuda_ops = {
    .name = "cuda",
    .open = backend_open,
    .close = backend_close,
    .caps = backend_caps,
    .memory = backend_memory,
    .stream = backend_stream,
    .configure = backend_configure,
    .allocate = cuda_allocate,
    .place = cuda_place,
    .place_end = cuda_place_end,
    .upload = backend_upload,
    .download = backend_download,
    .slot_begin = cuda_slot_begin,
    .batch_begin = cuda_batch_begin,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .embed = cuda_embed,
    .add_norm = cuda_add_norm,
    .qkv = cuda_qkv,
    .attention = cuda_attention,
    .attention_out = cuda_attention_out,
    .route = cuda_route,
    .experts = cuda_experts,
    .logits = cuda_logits,
    .decode_open = cuda_decode_open,
    .decode = cuda_decode,
    .sample = cuda_sample,
    .results = cuda_results,
};
