/* The backend suite: every test runs for every backend of this build that this machine can open, through the ops table alone. A test gets the
 * backend's table as its state, opens a `suite` with the shape it wants, makes inputs on the host, and compares what it reads back with the
 * plain formulas of reference.h.
 *
 * Everything that a suite_* function returns lives until suite_close, on the host or on the device. A failure of the backend fails the test.
 */
#ifndef TESTS_KERNELS_SUITE_H
#define TESTS_KERNELS_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four headers that it needs */
#include <cmocka.h>

#include "kernels/ops.h"

enum { SUITE_ROWS = 512 }; /* the most rows that a suite_batch can have */

/* The rows of one sequence in a batch: `count` tokens from `first` on. */
typedef struct suite_run {
    int slot, first, count;
} suite_run;

typedef struct suite {
    const ops *ops;
    ops_context *c;
    ops_caps caps;
    ops_shape shape;
    double tolerance;   /* of one stage, relative: what the activation's type can hold */
    uint64_t random;    /* state of suite_uniform */
    void **memory;      /* host memory, freed by suite_close */
    int n_memory;
    const uint32_t *masks; /* of the next suite_begin and those after it */
    int n_masks;
    /* of the last suite_begin: */
    int n_rows;
    int32_t ids[SUITE_ROWS], positions[SUITE_ROWS], slot_of[SUITE_ROWS];
} suite;

/* ---- running ------------------------------------------------------------------------------------------------------ */

/* Runs the tests once per backend; the result is main's. Backends that cannot be opened here are named and left out; "cpu" always opens. */
int suite_main(const char *group, const struct CMUnitTest *tests, size_t n);

/* A small shape to start from; block_tokens, tables and rope are filled in by suite_open. */
ops_shape suite_shape(void);
/* `backend` is a test's *state; threads 0: two. */
void suite_open(suite *s, void *backend, const ops_shape *shape, int threads);
void suite_close(suite *s);

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

void *suite_host(suite *s, size_t bytes);            /* zeroed */
double suite_uniform(suite *s, double low, double high);
int suite_integer(suite *s, int end);                /* 0 to end - 1 */
double *suite_values(suite *s, size_t n, double spread); /* uniform within +-spread, deviation spread / sqrt(3) */

/* Rounds `values` to the activation's type, so that the reference starts from what the device holds, and uploads them. */
void *suite_rows(suite *s, double *values, size_t n);
void *suite_device(suite *s, size_t bytes);          /* contents: 0xff bytes, that is NaN */
double *suite_read(suite *s, const void *device, size_t n); /* activations */
void *suite_upload(suite *s, const void *host, size_t bytes);
void suite_download(suite *s, void *host, const void *device, size_t bytes);
size_t suite_activation_size(const suite *s);

/* Fails unless each row of got [rows, cols] is within `tolerance` of want, relative, as a vector (root of the sum of squares), and every element
 * within that (with BF16: three times that) of the element or the row's root mean square, whichever is larger; a row of zeros must be zeros. */
void suite_compare(const char *what, double tolerance, const double *got, const double *want, int rows, int cols);

/* ---- weights ------------------------------------------------------------------------------------------------------ */

typedef struct suite_tensor {
    ops_weight host, placed; /* placed: after suite_place */
    double *values;          /* [batches, rows, cols] what the view holds, exactly */
} suite_tensor;

suite_tensor suite_bf16(suite *s, int batches, int rows, int cols, double centre, double spread);
suite_tensor suite_mxfp4(suite *s, int batches, int rows, int cols, double spread);
suite_tensor suite_absent(void);
/* Half-open parts of a tensor, as a view with the strides of the whole. */
suite_tensor suite_batches(suite *s, const suite_tensor *t, int first, int count);
suite_tensor suite_row_slice(suite *s, const suite_tensor *t, int first, int count);
suite_tensor suite_col_slice(suite *s, const suite_tensor *t, int first, int count);
/* Places tensors that are used together, and waits. */
void suite_place(suite *s, suite_tensor *const *tensors, int n);
#define SUITE_PLACE(s, ...) \
    suite_place(s, (suite_tensor *const[]){__VA_ARGS__}, (int)(sizeof((suite_tensor *const[]){__VA_ARGS__}) / sizeof(suite_tensor *)))

/* ---- batches and caches ------------------------------------------------------------------------------------------- */

/* Begins a batch of runs; ids [total rows] or NULL for random ones. The tables scatter a slot's blocks over the pool; entries behind the window
 * (kind OPS_SLIDING) and past the last row are -1. */
void suite_begin(suite *s, const suite_run *runs, int n_runs, const int32_t *ids);
/* Blocks of a pool that suite_begin's tables refer to, and where one token lies in it (counted in tokens). */
int suite_pool_blocks(const suite *s);
size_t suite_pool_token(const suite *s, int kind, int slot, int position);
/* False when a query at `first` or later no longer sees any key of that position's block. */
bool suite_block_alive(const suite *s, int kind, int first, int position);

#endif
