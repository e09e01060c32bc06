#include "runtime/text/tokenizer_ranks.h"

#include <stdlib.h>
#include <string.h>

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bytes of text[0, size), padded base64; the number of bytes, or 0 when it is malformed, empty or longer than a
 * token may be. */
static size_t base64_read(const char *text, size_t size, char out[TOKENIZER_RANKS_LONGEST])
{
    if (size == 0 || size % 4 || size / 4 * 3 > TOKENIZER_RANKS_LONGEST) return 0;
    size_t padding = text[size - 1] != '=' ? 0 : text[size - 2] != '=' ? 1 : 2, written = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        int digit = i < size - padding ? base64_digit(text[i]) : 0;
        if (digit < 0) return 0;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0; shift -= 8) out[written++] = (char)(bits >> shift & 0xFF);
        bits = 0;
    }
    return written - padding;
}

/* text[0, size) as a number below VOCAB_MAX_IDS, or -1. */
static int32_t rank_read(const char *text, size_t size)
{
    int32_t rank = 0;
    if (size == 0) return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        rank = rank * 10 + (text[i] - '0');
        if (rank >= VOCAB_MAX_IDS) return -1;
    }
    return rank;
}

status tokenizer_ranks_parse(const char *data, size_t size, int32_t limit, vocab *v, int32_t *total,
                             status_detail *detail)
{
    int32_t line = 0, highest = -1;
    for (const char *at = data, *end = data + size; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        if (stop > at && stop[-1] == '\r') stop--;
        const char *space = memchr(at, ' ', (size_t)(stop - at));
        char bytes[TOKENIZER_RANKS_LONGEST];
        size_t n = space ? base64_read(at, (size_t)(space - at), bytes) : 0;
        int32_t rank = space ? rank_read(space + 1, (size_t)(stop - space - 1)) : -1;
        if (n == 0 || rank < 0)
            return status_fail(detail, STATUS_MODEL, "line %d is not \"base64 rank\"; is this a whole .tiktoken file?",
                               (int)line + 1);
        if (rank > highest) highest = rank;
        if (rank < limit) {
            status result = vocab_add(v, rank, bytes, n, false, detail);
            if (result != STATUS_OK) return status_prefix(detail, result, "line %d", (int)line + 1);
        }
        at = newline ? newline + 1 : end;
    }
    if (line == 0 || highest != line - 1 || v->n_ids != (int32_t)v->n_ordinary)
        return status_fail(detail, STATUS_MODEL,
                           "%d ranks up to %d: there are gaps, or nothing; is this a whole .tiktoken file?", (int)line,
                           (int)highest);
    if (total) *total = line;
    return STATUS_OK;
}

static int compare_splits(const void *a, const void *b)
{
    const tokenizer_ranks_split *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

size_t tokenizer_ranks_splits(const vocab *v, int32_t id, tokenizer_ranks_split out[TOKENIZER_RANKS_LONGEST])
{
    size_t size, n = 0;
    const char *bytes = vocab_bytes(v, id, &size);
    for (size_t cut = 1; cut < size && size <= TOKENIZER_RANKS_LONGEST; cut++) {
        int32_t left = vocab_find(v, bytes, cut);
        if (left < 0) continue;
        int32_t right = vocab_find(v, bytes + cut, size - cut);
        if (right >= 0) out[n++] = (tokenizer_ranks_split){left, right};
    }
    if (n > 1) qsort(out, n, sizeof *out, compare_splits);
    return n;
}
