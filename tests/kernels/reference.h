/* The formulas of the stages in double precision, one row at a time, written to be read. Source: openai/gpt-oss `gpt_oss/torch/model.py`. */
#ifndef TESTS_KERNELS_REFERENCE_H
#define TESTS_KERNELS_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

/* E2M1 code times 2^(scale - 127): OCP Microscaling Formats (MX) v1.0, section 5.3. */
double reference_mxfp4(int code, int scale);

/* out [rows] = w [rows, cols] x + bias; bias NULL: none. */
void reference_product(const double *w, const double *bias, int rows, int cols, const double *x, double *out);

/* out = x / sqrt(mean(x^2) + eps) * scale */
void reference_norm(const double *x, const double *scale, int n, double eps, double *out);

/* Rotates one head in place; cosine, sine [dim / 2] of its position. */
void reference_rope(double *head, int dim, const float *cosine, const float *sine);

/* out [dim] of one query head over n keys and values, `stride` elements apart; softmax of q k / sqrt(dim) with one more logit, the sink, that
 * has no value. */
void reference_attend(const double *q, const double *keys, const double *values, size_t stride, int n, int dim, double sink, double *out);

typedef struct reference_mlp {
    int hidden, intermediate;
    double alpha, limit;
    const double *gate_up, *gate_up_bias; /* [2 * intermediate, hidden], rows gate, up, gate, up, ... */
    const double *down, *down_bias;       /* [hidden, intermediate]; bias NULL: none */
} reference_mlp;

/* out [hidden]. Returns how many gates and ups were cut at the limit. */
int reference_expert(const reference_mlp *m, const double *x, double *out);

#endif
