/* The LM head: the wanted rows against the local columns. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <math.h>

/* A vocabulary of 157 over `shards` ranks; this is rank `shard`. */
static void open_shard(suite *s, void *backend, int hidden, int shards, int shard)
{
    ops_shape shape = suite_shape();
    int cols = (157 + shards - 1) / shards, first = shard * cols < 157 ? shard * cols : 157;
    shape.hidden = hidden;
    shape.vocab = 157;
    shape.logit_shards = shards;
    shape.logit_shard_cols = cols;
    shape.logit_first = first;
    shape.logit_count = first + cols < 157 ? cols : 157 - first;
    suite_open(s, backend, &shape, 0);
}

static void check_logits(suite *s, int tokens, const int *wanted, int n)
{
    int hidden = s->shape.hidden, cols = s->shape.logit_shard_cols, count = s->shape.logit_count;
    suite_tensor all = suite_bf16(s, 1, s->shape.vocab, hidden, 0, 2 / sqrt(hidden)), head = suite_row_slice(s, &all, s->shape.logit_first, count);
    SUITE_PLACE(s, &head);
    suite_begin(s, (suite_run[]){{0, 9, tokens}}, 1, NULL);
    double *normed = suite_values(s, (size_t)(tokens * hidden), 2), *want = suite_host(s, (size_t)count * sizeof *want);
    void *normed_device = suite_rows(s, normed, (size_t)(tokens * hidden));
    ops_logit_row *rows = suite_host(s, (size_t)n * sizeof *rows);
    for (int i = 0; i < n; i++) rows[i] = (ops_logit_row){.row = wanted[i], .target = -1, .top = -1};
    float *device = suite_device(s, (size_t)(n * cols) * sizeof *device), *logits = suite_host(s, (size_t)(n * cols) * sizeof *logits);
    s->ops->logits(s->c, &head.placed, normed_device, rows, n, device);
    suite_download(s, logits, device, (size_t)(n * cols) * sizeof *logits);
    for (int i = 0; i < n; i++) {
        double *got = suite_host(s, (size_t)count * sizeof *got);
        for (int k = 0; k < count; k++) got[k] = (double)logits[i * cols + k];
        reference_product(head.values, NULL, count, hidden, normed + (size_t)(wanted[i] * hidden), want);
        suite_compare("logits", 1e-5, got, want, 1, count); /* F32 sums of exact inputs, on every backend */
    }
}

static void logits_of_chosen_rows(void **state)
{
    static const int hidden_sizes[] = {32, 96, 160, 2880};
    static const int several[] = {16, 0, 3, 3, 9}; /* any order, even twice: a row can be scored and drawn from */
    int every[32];
    for (int i = 0; i < 32; i++) every[i] = i * 9;
    for (int i = 0; i < 4; i++) {
        suite s;
        open_shard(&s, *state, hidden_sizes[i], 1, 0);
        check_logits(&s, 1, (int[]){0}, 1);
        check_logits(&s, 17, several, 5);
        check_logits(&s, 300, every, 32);
        suite_close(&s);
    }
}

/* The last shard is shorter; with 60 of 3 columns the last one is past the end and has nothing to do. */
static void logits_of_a_shard(void **state)
{
    static const int several[] = {2, 0, 1};
    static const int shards[][2] = {{2, 0}, {2, 1}, {4, 3}, {60, 0}, {60, 59}};
    for (int i = 0; i < 5; i++) {
        suite s;
        open_shard(&s, *state, 96, shards[i][0], shards[i][1]);
        check_logits(&s, 3, several, 3);
        suite_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_chosen_rows),
        cmocka_unit_test(logits_of_a_shard),
    };
    return suite_main("logits", tests, sizeof tests / sizeof *tests);
}
