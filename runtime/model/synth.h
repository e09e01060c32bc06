/* Writes a checkpoint in the Hugging Face layout with random weights, for tests and benchmarks.
 *
 * The weights are of a size that keeps every activation near 1, so logits are finite and spread over many tokens. Equal
 * options give equal bytes. A few MB a thread are held in memory; shards are written side by side by all threads that
 * OpenMP gives.
 */
#ifndef RUNTIME_MODEL_SYNTH_H
#define RUNTIME_MODEL_SYNTH_H

#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/model/model_config.h"

/* A special token and its id. */
typedef struct synth_special {
    const char *text;
    int32_t id;
} synth_special;

typedef struct synth_options {
    const char *dir;  /* made, with its parents, when it is not there; must not hold a config.json yet */
    const char *like; /* "tiny", "20b", "120b" */
    uint64_t seed;
    const char *vocabulary; /* the o200k_base.tiktoken that write_tokenizer will read; looked for before anything is
                               written. NULL: not */

    /* Writes a tokenizer.json at `path`: the first n_ordinary ranks of the vocabulary, and the special tokens. It
     * stands here as a callback because tokenizers belong to a layer that this one must not know. Arguments live for
     * the call. NULL: no tokenizer.json. */
    status (*write_tokenizer)(void *user, const char *path, int n_ordinary, const synth_special *specials,
                              int n_specials, status_detail *detail);
    /* Bytes of weights written so far and in all: at first with 0, about every 64 MB, and at last with done == total.
     * From any thread, one at a time. NULL: none. */
    void (*progress)(void *user, int64_t done, int64_t total);
    void *user; /* handed to both */
} synth_options;

/* Blocks until all is written; config.json comes last, so an unfinished directory is never taken for a model.
 * STATUS_USAGE: an unknown `like`, or a directory that already holds a model. STATUS_MACHINE: too little free space
 * (found out before the first byte), or writing failed; the shards written so far are removed. */
status synth_write(const synth_options *options, status_detail *detail);

/* The shape that `like` stands for. False when unknown. */
bool synth_shape(const char *like, model_config *out);

#endif
