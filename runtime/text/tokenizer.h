/* The o200k byte-pair tokenizer, read from a checkpoint's tokenizer.json or from a .tiktoken file.
 *
 * Immutable once open: any number of threads may use one handle at the same time.
 * Sources: openai/tiktoken `src/lib.rs` (byte_pair_merge), openai/harmony `src/tiktoken.rs`; Hugging Face tokenizer.json
 * (model.type BPE, `vocab`, `merges`, `added_tokens`).
 */
#ifndef RUNTIME_TEXT_TOKENIZER_H
#define RUNTIME_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

typedef struct tokenizer tokenizer;

/* `path`: a tokenizer.json, a .tiktoken file, or a directory that holds tokenizer.json (tried first) or one *.tiktoken.
 * A .tiktoken file carries no special tokens: those of o200k_harmony are added after its last rank (style of
 * openai/tiktoken `openai_public.py`); reduced vocabularies must come as tokenizer.json. STATUS_MODEL when missing or malformed. */
status tokenizer_open(const char *path, tokenizer **out, status_detail *detail);
void tokenizer_close(tokenizer *t); /* NULL is allowed */

/* The same from memory, for tests and fuzzers: (data, size) of a tokenizer.json. */
status tokenizer_parse_json(const char *data, size_t size, tokenizer **out, status_detail *detail);

/* One past the highest id, special tokens included. Ids in between without a token have no bytes. */
int32_t tokenizer_size(const tokenizer *t);

/* Appends the ids of `text` (must be valid UTF-8; utf8_repair() makes it so). Never yields a special token: "<|start|>" in text is
 * ordinary text. STATUS_INTERNAL when memory ends; `out` then keeps what it had. */
status tokenizer_encode(const tokenizer *t, const char *text, size_t size, id_list *out, status_detail *detail);

/* The id of a special token by its text, such as "<|start|>", or -1. */
int32_t tokenizer_special(const tokenizer *t, const char *text);
bool tokenizer_is_special(const tokenizer *t, int32_t id);

/* The bytes of a token (a special token's text); NULL and *size 0 for an id without a token. They live as long as `t`; they need not
 * be whole UTF-8 characters. */
const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *size);

#endif
