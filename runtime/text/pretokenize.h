/* Splitting text into the pieces that byte-pair merging works on, by the o200k pattern.
 *
 * The definition is the published regular expression, run by PCRE2. pretokenize_ascii.c decides the pieces that depend
 * on nothing but ASCII by hand, several times faster; the tests hold the two against each other on random text. Source
 * of the pattern: openai/tiktoken `tiktoken_ext/openai_public.py` o200k_base.
 */
#ifndef RUNTIME_TEXT_PRETOKENIZE_H
#define RUNTIME_TEXT_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/status.h"

/* The pattern as tokenizer.json and tiktoken spell it. */
extern const char pretokenize_published_pattern[];

/* The compiled pattern. Immutable: any number of scans may use it at once. */
typedef struct pretokenize pretokenize;

/* STATUS_INTERNAL when memory ends or PCRE2 was built without Unicode. */
status pretokenize_open(pretokenize **out, status_detail *detail);
void pretokenize_close(pretokenize *p); /* NULL is allowed */

/* A walk over one text. The text belongs to the caller and must be valid UTF-8. */
typedef struct pretokenize_scan {
    const pretokenize *pattern;
    const char *text;
    size_t size;
    size_t position;   /* where the next piece begins */
    bool pattern_only; /* leave pretokenize_ascii() out; for tests */
    void *match;       /* pcre2_match_data, made when first needed */
} pretokenize_scan;

pretokenize_scan pretokenize_scan_begin(const pretokenize *p, const char *text, size_t size);
void pretokenize_scan_end(pretokenize_scan *s);

/* Moves on by one piece, which is text[*start, s->position). Only to be called while position < size. */
status pretokenize_scan_next(pretokenize_scan *s, size_t *start, status_detail *detail);

/* The end of the piece that begins at `start` (< size), or 0 when a byte above 7F has a say in it. Any bytes are
 * allowed. */
size_t pretokenize_ascii(const char *text, size_t size, size_t start);

#endif
