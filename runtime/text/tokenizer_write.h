/* Writes the tokenizer.json of a synthetic checkpoint: an o200k vocabulary, whole or cut, with special tokens of one's
 * choice.
 *
 * The file has the structure of the published one (openai/gpt-oss-20b): byte-level BPE with every merge that tiktoken
 * would make, the o200k pattern, added tokens; tokenizer_open() and Hugging Face `tokenizers` read it.
 */
#ifndef RUNTIME_TEXT_TOKENIZER_WRITE_H
#define RUNTIME_TEXT_TOKENIZER_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct tokenizer_write_special {
    const char *text; /* UTF-8, not empty */
    int32_t id;       /* n_ordinary or above */
} tokenizer_write_special;

/* `tiktoken_path`: the vocabulary, such as the installed share/gptoss-tp/o200k_base.tiktoken; the ranks below
 * `n_ordinary` (at least 256, which are the single bytes) are kept as ids 0..n_ordinary-1. `specials` in any order; ids
 * between them are filled with
 * "<|reserved_ID|>", because Hugging Face numbers added tokens without gaps. `path` is written anew, and removed again
 * on failure. STATUS_USAGE: n_ordinary or specials out of range or repeated; STATUS_MODEL: the vocabulary cannot be
 * read; STATUS_MACHINE: `path` cannot be written. */
status tokenizer_write_json(const char *tiktoken_path, int32_t n_ordinary, const tokenizer_write_special *specials,
                            size_t n_specials, const char *path, status_detail *detail);

#endif
