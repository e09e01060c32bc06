/* What a tokenizer is made of, and how its readers fill it. Internal to the tokenizer's files. */
#ifndef RUNTIME_TEXT_TOKENIZER_PARTS_H
#define RUNTIME_TEXT_TOKENIZER_PARTS_H

#include <stddef.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/text/bpe.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/vocab.h"

struct tokenizer {
    vocab vocab;
    bpe bpe;
    pretokenize *split;
};

/* The whole of a regular file below 1 GiB. `out` must be empty and is owned by the caller; untouched on failure. */
status tokenizer_file_read(const char *path, buffer *out, status_detail *detail);

/* A reader adds all tokens and rules to a zeroed tokenizer; on failure what it added stays and is freed by the caller.
 * Pure functions of (data, size), which may be any bytes. STATUS_MODEL: malformed or not an o200k vocabulary. */
status tokenizer_json_read(tokenizer *t, const char *data, size_t size, status_detail *detail);
status tokenizer_tiktoken_read(tokenizer *t, const char *data, size_t size, status_detail *detail);

/* Ends building: seals vocabulary and rules. STATUS_MODEL when one of the 256 single bytes has no token: then some text
 * could not be written in tokens. */
status tokenizer_seal(tokenizer *t, status_detail *detail);

#endif
