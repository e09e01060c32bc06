#include "tests/kernels/reference.h"

#include <math.h>
#include <stdlib.h>

double reference_mxfp4(int code, int scale)
{
    int exponent = code >> 1 & 3, mantissa = code & 1;
    double magnitude = exponent ? ldexp(1 + 0.5 * mantissa, exponent - 1) : 0.5 * mantissa;
    return ldexp(code & 8 ? -magnitude : magnitude, scale - 127);
}

void reference_product(const double *w, const double *bias, int rows, int cols, const double *x, double *out)
{
    for (int r = 0; r < rows; r++) {
        out[r] = bias ? bias[r] : 0;
        for (int k = 0; k < cols; k++) out[r] += w[(size_t)r * (size_t)cols + (size_t)k] * x[k];
    }
}

void reference_norm(const double *x, const double *scale, int n, double eps, double *out)
{
    double squares = 0;
    for (int i = 0; i < n; i++) squares += x[i] * x[i];
    for (int i = 0; i < n; i++) out[i] = x[i] / sqrt(squares / n + eps) * scale[i];
}

void reference_rope(double *head, int dim, const float *cosine, const float *sine)
{
    for (int i = 0; i < dim / 2; i++) {
        double a = head[i], b = head[i + dim / 2];
        head[i] = a * (double)cosine[i] - b * (double)sine[i];
        head[i + dim / 2] = b * (double)cosine[i] + a * (double)sine[i];
    }
}

void reference_attend(const double *q, const double *keys, const double *values, size_t stride, int n, int dim, double sink, double *out)
{
    double *scores = malloc((size_t)n * sizeof *scores), largest = sink;
    for (int j = 0; j < n; j++) {
        reference_product(keys + (size_t)j * stride, NULL, 1, dim, q, &scores[j]);
        scores[j] /= sqrt(dim);
        largest = fmax(largest, scores[j]);
    }
    double sum = exp(sink - largest);
    for (int j = 0; j < n; j++) sum += exp(scores[j] - largest);
    for (int i = 0; i < dim; i++) {
        out[i] = 0;
        for (int j = 0; j < n; j++) out[i] += exp(scores[j] - largest) / sum * values[(size_t)j * stride + (size_t)i];
    }
    free(scores);
}

int reference_expert(const reference_mlp *m, const double *x, double *out)
{
    int n = m->intermediate, cut = 0;
    double *h = malloc((size_t)(2 * n) * sizeof *h), *act = malloc((size_t)n * sizeof *act);
    reference_product(m->gate_up, m->gate_up_bias, 2 * n, m->hidden, x, h);
    for (int i = 0; i < n; i++) {
        double gate = fmin(h[2 * i], m->limit), up = fmax(fmin(h[2 * i + 1], m->limit), -m->limit);
        cut += (gate != h[2 * i]) + (up != h[2 * i + 1]);
        act[i] = gate / (1 + exp(-m->alpha * gate)) * (up + 1);
    }
    reference_product(m->down, m->down_bias, m->hidden, n, act, out);
    free(h);
    free(act);
    return cut;
}
