/* The draw: filters choose candidates, the Gumbel-max trick chooses among them (Maddison, Tarlow, Minka: "A* sampling", NIPS 2014, section 2).
 *
 * z = (logit - largest logit) / temperature, in double, so that no temperature above 0 overflows. Each id has noise of its own, from
 * Philox(seed, position, id); the largest z + noise wins. No sum over the vocabulary decides, hence no order of summation, and an id's chance to
 * win does not depend on where it is stored.
 */
#include <math.h>

#include "kernels/cpu/cpu_sample.h"
#include "kernels/philox.h"

/* ---- noise ------------------------------------------------------------------------------------------------------- */

typedef struct draw {
    double temperature, largest; /* z = (logit - largest) / temperature */
    uint64_t seed;
    uint32_t position;
    uint32_t block; /* whose words are in `noise`: ids 4 * block to 4 * block + 3 */
    philox_block noise;
    double best; /* z + noise of `id` */
    int32_t id;  /* -1: none yet */
} draw;

static uint32_t noise_word(draw *d, int32_t id)
{
    uint32_t block = (uint32_t)id / 4;
    if (d->id < 0 || block != d->block) {
        d->block = block;
        d->noise = philox((philox_block){{block, d->position, 0, 0}}, d->seed);
    }
    return d->noise.word[id % 4];
}

static double scaled(const draw *d, float logit) { return ((double)logit - d->largest) / d->temperature; }

/* Lets an id compete. With u = (word + 1/2) / 2^32 uniform, e = -log(1 - u) is exponential and -log(e) is Gumbel noise. Because e > u, an id
 * whose u exceeds exp(z - best) cannot win: for nearly all ids a look at the leading bits replaces two logarithms. */
static void consider(draw *d, int32_t id, float logit)
{
    double z = scaled(d, logit), halvings = (d->best - z) * 1.4426950408889634; /* log2(exp(best - z)) */
    if (halvings >= 33) return;
    uint32_t word = noise_word(d, id);
    halvings -= 1e-6; /* rounding must not decide */
    if (halvings >= 1 && word >> (32 - (int)halvings)) return;
    double key = z - log(-log1p(-((double)word + 0.5) * 0x1p-32));
    if (d->id >= 0 && (key < d->best || (key == d->best && id > d->id))) return;
    d->best = key;
    d->id = id;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static bool precedes(cpu_candidate a, cpu_candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

static void exchange(cpu_candidate *items, int i, int j)
{
    cpu_candidate kept = items[i];
    items[i] = items[j];
    items[j] = kept;
}

/* Puts the median of first, middle and last at its place within [first, end) and returns that place. */
static int partition(cpu_candidate *items, int first, int end)
{
    int middle = first + (end - first) / 2, last = end - 1;
    if (precedes(items[middle], items[first])) exchange(items, middle, first);
    if (precedes(items[last], items[first])) exchange(items, last, first);
    if (precedes(items[last], items[middle])) exchange(items, last, middle);
    cpu_candidate pivot = items[middle];
    exchange(items, middle, last);
    int place = first;
    for (int i = first; i < last; i++)
        if (precedes(items[i], pivot)) exchange(items, place++, i);
    exchange(items, place, last);
    return place;
}

/* Sorts only as far as asked: incremental quicksort (Paredes and Navarro: "Optimal incremental sorting", ALENEX 2006), O(n + k log k) for the
 * first k of n. */
typedef struct order {
    cpu_candidate *items;
    int32_t *pivots; /* a stack of ends; the run before the innermost one is unsorted, but wholly ahead of the rest */
    int depth;
} order;

static order order_begin(const cpu_sample_scratch *scratch, int n)
{
    order o = {scratch->candidates, scratch->pivots, 1};
    o.pivots[0] = n;
    return o;
}

/* Brings the item of rank `next` to its place; to be called for 0, 1, 2, ... below n. */
static void order_next(order *o, int next)
{
    while (o->pivots[o->depth - 1] != next) {
        int place = partition(o->items, next, o->pivots[o->depth - 1]);
        o->pivots[o->depth++] = place;
    }
    o->depth--;
}

/* ---- filters ----------------------------------------------------------------------------------------------------- */

/* Candidates in the order of ids: everything that min_p leaves of what can be drawn at all. */
static int gather(const draw *d, float min_p, const float *logits, int vocab, cpu_candidate *out)
{
    double floor = min_p > 0 ? log((double)min_p) : -INFINITY;
    int n = 0;
    for (int id = 0; id < vocab; id++)
        if (logits[id] > -INFINITY && scaled(d, logits[id]) >= floor) out[n++] = (cpu_candidate){logits[id], id};
    return n;
}

static int keep_top_k(const cpu_sample_scratch *scratch, int n, int top_k)
{
    if (top_k <= 0 || top_k >= n) return n;
    order o = order_begin(scratch, n);
    for (int i = 0; i < top_k; i++) order_next(&o, i);
    return top_k;
}

/* The shortest run of best candidates that reaches the share top_p: an id stays while those ahead of it hold less. */
static int keep_top_p(const draw *d, const cpu_sample_scratch *scratch, int n, float top_p)
{
    if (!(top_p < 1)) return n;
    double total = 0, ahead = 0;
    for (int i = 0; i < n; i++) total += exp(scaled(d, scratch->candidates[i].logit));
    order o = order_begin(scratch, n);
    int kept = 0;
    while (kept < n && (kept == 0 || ahead < (double)top_p * total)) {
        order_next(&o, kept);
        ahead += exp(scaled(d, scratch->candidates[kept++].logit));
    }
    return kept;
}

static int32_t greedy(const float *logits, int vocab)
{
    int32_t best = 0;
    for (int id = 1; id < vocab; id++)
        if (logits[id] > logits[best]) best = id;
    return best;
}

int32_t cpu_sample_pick(const ops_sampling *sampling, int32_t position, const float *logits, int vocab, const cpu_sample_scratch *scratch)
{
    int32_t best = greedy(logits, vocab);
    if (!(sampling->temperature > 0) || logits[best] == -INFINITY) return best;
    draw d = {.temperature = (double)sampling->temperature, .largest = (double)logits[best], .seed = sampling->seed,
              .position = (uint32_t)position, .best = -INFINITY, .id = -1};
    consider(&d, best, logits[best]); /* it stays in every filter, and lets most others be dismissed at once */
    if (!(sampling->min_p > 0) && sampling->top_k <= 0 && !(sampling->top_p < 1)) {
        for (int id = 0; id < vocab; id++) consider(&d, id, logits[id]);
        return d.id;
    }
    int n = gather(&d, sampling->min_p, logits, vocab, scratch->candidates);
    n = keep_top_k(scratch, n, sampling->top_k);
    n = keep_top_p(&d, scratch, n, sampling->top_p);
    for (int i = 0; i < n; i++) consider(&d, scratch->candidates[i].id, scratch->candidates[i].logit);
    return d.id;
}
