/* Weights on the CPU: views into the mapped checkpoint, dequantised a row at a time. */
#include <math.h>

#include "kernels/cpu/cpu.h"


/* E2M1 codes, the low nibble of a byte first: OCP Microscaling Formats (MX) v1.0, section 5.3.3. */
static void mxfp4_row(const uint8_t *codes, const uint8_t *scales, int64_t cols, float *out)
{
    static const float values[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    for (int64_t block = 0; block < cols / 32; block++) {
        float scale = ldexpf(1.0f, (int)scales[block] - 127), scaled[16];
        for (int i = 0; i < 16; i++) scaled[i] = values[i] * scale;
        for (int i = 0; i < 16; i++) {
            uint8_t code = codes[16 * block + i];
            out[32 * block + 2 * i] = scaled[code & 15];
            out[32 * block + 2 * i + 1] = scaled[code >> 4];
        }
    }
}

void cpu_weight_row(const ops_weight *w, int64_t batch, int64_t row, float *out)
{
    const uint8_t *data = (const uint8_t *)w->data + batch * w->batch_stride + row * w->row_stride;
    if (w->format == OPS_MXFP4) {
        mxfp4_row(data, w->scales + batch * w->scale_batch_stride + row * w->scale_row_stride, w->cols, out);
        return;
    }
    for (int64_t i = 0; i < w->cols; i++) {
        uint16_t bits;
        memcpy(&bits, data + 2 * i, sizeof bits);
        out[i] = dtype_bf16_to_f32(bits);
    }
}

/* ---- dummy weights ---------------------------------------------------------------------------------------------- */

/* splitmix64's output function: a well-mixed 64-bit number per index, so that any element can be made by any thread. */
static uint64_t mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

/* About normal with deviation 1: the sum of four 16-bit uniforms, centred. */
static float normal(uint64_t bits)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (float)((bits >> (16 * i)) & 0xffffu) / 65536.0f;
    return (sum - 2.0f) * 1.7320508f;
}

static status dummy_bf16(ops_context *c, uint64_t seed, ops_weight *w, status_detail *detail)
{
    int64_t count = w->batches * w->rows * w->cols;
    uint16_t *data;
    STATUS_TRY(cpu_allocate(c, (size_t)count * sizeof *data, (void **)&data, detail));
#pragma omp parallel for num_threads(c->threads)
    for (int64_t i = 0; i < count; i++) data[i] = dtype_f32_to_bf16(w->mean + w->deviation * normal(mix(seed * 0x100000001b3u + (uint64_t)i)));
    w->data = data;
    w->row_stride = w->cols * 2;
    w->batch_stride = w->rows * w->row_stride;
    return STATUS_OK;
}

static status dummy_mxfp4(ops_context *c, uint64_t seed, ops_weight *w, status_detail *detail)
{
    int64_t blocks = w->batches * w->rows * (w->cols / 32);
    uint8_t *data, *scales;
    STATUS_TRY(cpu_allocate(c, (size_t)blocks * 16, (void **)&data, detail));
    STATUS_TRY(cpu_allocate(c, (size_t)blocks, (void **)&scales, detail));
    /* codes drawn uniformly have a deviation of 2.9 */
    int centre = 127 + (int)lroundf(log2f(1.0f / sqrtf((float)w->cols) / 2.9f));
#pragma omp parallel for num_threads(c->threads)
    for (int64_t i = 0; i < blocks; i++) {
        uint64_t bits = mix(seed * 0x100000001b3u + (uint64_t)i);
        uint64_t low = mix(bits), high = mix(bits + 1);
        memcpy(data + 16 * i, &low, 8);
        memcpy(data + 16 * i + 8, &high, 8);
        scales[i] = (uint8_t)(centre - 1 + (int)(bits % 3));
    }
    w->data = data;
    w->scales = scales;
    w->row_stride = w->cols / 2;
    w->batch_stride = w->rows * w->row_stride;
    w->scale_row_stride = w->cols / 32;
    w->scale_batch_stride = w->rows * w->scale_row_stride;
    return STATUS_OK;
}

status cpu_place(ops_context *c, const ops_weight *host, int n, uint64_t seed, ops_weight *placed, status_detail *detail)
{
    for (int i = 0; i < n; i++) {
        ops_weight w = host[i];
        if (!w.data && w.batches * w.rows * w.cols > 0) {
            uint64_t own = seed * 8 + (uint64_t)i;
            STATUS_TRY(w.format == OPS_MXFP4 ? dummy_mxfp4(c, own, &w, detail) : dummy_bf16(c, own, &w, detail));
        }
        placed[i] = w;
    }
    return STATUS_OK;
}
