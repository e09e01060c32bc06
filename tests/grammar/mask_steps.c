/* What a step of the engine waits for constrained sequences: masks, packing them for the message, accepting what was
 * drawn, one sequence after the other on one thread.
 *
 *     mask_steps SEQUENCES STEPS < schemas.json      an array; sequences take schemas in turn
 *
 * Sampling as in grammar_driver.c. Prints medians and tails in microseconds of the thread's own time. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/engine/step_plan.h"
#include "runtime/grammar/grammar.h"

enum { MAX_SCHEMAS = 64, MAX_SEQUENCES = 1024, PARTS = 3 };

typedef struct bench {
    tokenizer *t;
    grammar_vocab *v;
    grammar *grammars[MAX_SCHEMAS];
    int n_grammars, next_grammar;
    grammar_matcher *sequences[MAX_SEQUENCES];
    uint32_t *bits;
    int32_t *packed;
    int32_t quote;
    uint64_t random;
} bench;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "mask_steps: %s %s\n", what, detail);
    exit(1);
}

static uint32_t next_random(bench *b)
{
    b->random += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    uint64_t z = b->random;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static grammar_matcher *begin(bench *b)
{
    grammar_matcher *m;
    if (grammar_matcher_open(b->grammars[b->next_grammar++ % b->n_grammars], &m, NULL) != STATUS_OK) die("open", "");
    return m;
}

static bool allowed(const bench *b, int32_t id) { return b->bits[id >> 5] >> (id & 31) & 1; }

/* One time in four the quote, else any token of the mask; -1: there is none. */
static int32_t draw(bench *b)
{
    size_t words = grammar_vocab_words(b->v);
    uint32_t n = 0, k;
    if (next_random(b) % 4 == 0 && allowed(b, b->quote)) return b->quote;
    for (size_t w = 0; w < words; w++) n += (uint32_t)__builtin_popcount(b->bits[w]);
    if (n == 0) return -1;
    k = next_random(b) % n;
    for (int32_t id = 0;; id++)
        if (allowed(b, id) && k-- == 0) return id;
}

static void step(bench *b, int n_sequences, double times[PARTS])
{
    size_t words = grammar_vocab_words(b->v);
    for (int i = 0; i < n_sequences; i++) {
        double t[PARTS + 1] = {now()};
        memset(b->bits, 0, words * sizeof *b->bits);
        if (grammar_matcher_mask(b->sequences[i], b->bits, NULL) != STATUS_OK) die("mask", "");
        t[1] = now();
        (void)step_plan_mask_pack(b->bits, grammar_vocab_size(b->v), b->packed);
        t[2] = now();
        times[0] += t[1] - t[0];
        times[1] += t[2] - t[1];
        int32_t id = draw(b);
        if (id < 0) {
            grammar_matcher_close(b->sequences[i]);
            b->sequences[i] = begin(b);
            continue;
        }
        t[2] = now();
        if (!grammar_matcher_accept(b->sequences[i], id)) die("a masked token was refused", "");
        times[2] += now() - t[2];
    }
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const char *name, double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, compare);
    printf("%-7s p50 %.0f us, p99 %.0f us, max %.0f us\n", name, times[n / 2], times[n * 99 / 100], times[n - 1]);
}

static void open_bench(bench *b)
{
    char path[4096];
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    status_detail detail;
    snprintf(path, sizeof path, "%s/../runtime/text/data/o200k_base.tiktoken", tests ? tests : "tests");
    if (tokenizer_open(path, &b->t, &detail) != STATUS_OK) die("tokenizer:", detail.text);
    if (grammar_vocab_open(b->t, &b->v, &detail) != STATUS_OK) die("vocabulary:", detail.text);
    json_t *schemas = json_loadf(stdin, 0, NULL), *schema;
    size_t index;
    json_array_foreach(schemas, index, schema)
    {
        if (b->n_grammars == MAX_SCHEMAS) break;
        if (grammar_from_schema(b->v, schema, NULL, &b->grammars[b->n_grammars++], &detail) != STATUS_OK)
            die("schema:", detail.text);
    }
    json_decref(schemas);
    if (b->n_grammars == 0) die("no schemas on stdin", "");
    for (int32_t id = 0; id < grammar_vocab_size(b->v); id++) {
        size_t size;
        const char *bytes = tokenizer_bytes(b->t, id, &size);
        if (size == 1 && *bytes == '"') b->quote = id;
    }
    b->bits = malloc(grammar_vocab_words(b->v) * sizeof *b->bits);
    b->packed = malloc(grammar_vocab_words(b->v) * sizeof *b->packed);
    if (!b->bits || !b->packed) die("out of", "memory");
}

int main(int argc, char **argv)
{
    static const char *const names[PARTS] = {"masks", "packing", "tokens"};
    bench b = {.random = 1};
    int n_sequences = argc == 3 ? atoi(argv[1]) : 0, n_steps = argc == 3 ? atoi(argv[2]) : 0;
    if (n_sequences < 1 || n_sequences > MAX_SEQUENCES || n_steps < 1) die("usage:", "mask_steps SEQUENCES STEPS");
    open_bench(&b);
    for (int i = 0; i < n_sequences; i++) b.sequences[i] = begin(&b);
    double *times = calloc((size_t)n_steps * (PARTS + 1), sizeof *times);
    if (!times) die("out of", "memory");
    for (int s = -n_steps / 10; s < n_steps; s++) { /* the first are the schemas' first use */
        double parts[PARTS] = {0};
        step(&b, n_sequences, parts);
        for (int part = 0; part < PARTS && s >= 0; part++) {
            times[part * n_steps + s] = parts[part];
            times[PARTS * n_steps + s] += parts[part];
        }
    }
    for (int part = 0; part < PARTS; part++) report(names[part], times + part * n_steps, n_steps);
    report("all", times + PARTS * n_steps, n_steps);
    for (int i = 0; i < n_sequences; i++) grammar_matcher_close(b.sequences[i]);
    for (int i = 0; i < b.n_grammars; i++) grammar_release(b.grammars[i]);
    free(times);
    free(b.bits);
    free(b.packed);
    grammar_vocab_close(b.v);
    tokenizer_close(b.t);
    return 0;
}
