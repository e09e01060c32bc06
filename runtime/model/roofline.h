/* What a step must read and compute at least, counted from the shard plan, and how long that takes on a given device: pure arithmetic.
 *
 * Counted: every weight a rank holds and needs, once a step; of the experts those that are expected to be touched; the keys and values that
 * attention may look at; two operations for each multiplication with a weight, a key or a value. Not counted: activations, logits, the
 * embedding's rows, and what travels between ranks. A roofline in the sense of Williams, Waterman, Patterson, "Roofline: an insightful visual
 * performance model", 2009: the time is the longer one of reading and computing.
 */
#ifndef RUNTIME_MODEL_ROOFLINE_H
#define RUNTIME_MODEL_ROOFLINE_H

#include "runtime/model/shard_plan.h"

typedef struct roofline_step {
    int sequences; /* 0: a group that only helps the others' experts */
    int run;       /* consecutive tokens of each: 1 when decoding, a chunk in prefill */
    int context;   /* keys that the last token of a run may see in a full layer, itself included; at least `run` */
    int logits;    /* rows of each whose logits are wanted */
} roofline_step;

/* Work of one rank, over all layers. */
typedef struct roofline_work {
    double experts_touched;                /* expected number of this rank's experts that a layer needs */
    double bytes_dense;                    /* attention, router, norms */
    double bytes_experts;
    double bytes_head;
    double bytes_full, bytes_sliding;      /* keys and values read by layers of each kind */
    double flops;
} roofline_work;

/* What one device can do; 0: unknown. */
typedef struct roofline_limits {
    double bandwidth; /* bytes read from its memory, per second */
    double flops;     /* operations per second of dense products in the activations' type */
} roofline_limits;

/* `step`: of the rank's own data-parallel group. `all_rows`: tokens of all groups, which is what the experts see; routing is taken as uniform and independent, so that of E experts
 * E (1 - (1 - k/E)^all_rows) are touched. `element`: bytes of a number in the KV cache. */
roofline_work roofline_count(const shard_plan *plan, const model_config *config, const roofline_step *step, int64_t all_rows, int element);

double roofline_bytes(const roofline_work *work);

/* The longer one of reading and computing, as far as the limits are known; 0 when neither is. */
double roofline_seconds(const roofline_work *work, const roofline_limits *limits);

void roofline_add(roofline_work *sum, const roofline_work *more);

/* The sequences of group g when `sequences` are spread over `dp` groups: as even as possible, the first ones taking one more. */
int roofline_group_sequences(int sequences, int dp, int g);

/* The rank that takes longest when the sequences of `step` are spread over all groups; with unknown limits, the one that reads most.
 * STATUS_USAGE when the layout is impossible. */
status roofline_slowest(const model_config *config, shard_layout layout, int world, const roofline_step *step, int element,
                        const roofline_limits *limits, roofline_work *out, status_detail *detail);

#endif
