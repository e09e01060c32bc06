/* Sets of ids between their two forms: bits for the backend, the shortest list for the message. A string of JSON may go on with nearly
 * every token, a key with a few; only what lies between travels as bits. */
#include <string.h>

#include "runtime/engine/step_plan.h"

/* Bits of a mask's last word that stand for ids. */
static uint32_t last_word(int vocab) { return vocab % 32 ? (1u << vocab % 32) - 1 : ~0u; }

/* Bits that are set. In sums of 2, 4, 8 bits and so on, which compilers do for several words at once: the builtin is a call for each word where
 * no newer processor is asked for, and was most of what a mask cost. */
static int count(const uint32_t *bits, int words)
{
    int n = 0;
    for (int i = 0; i < words; i++) {
        uint32_t x = bits[i];
        x -= x >> 1 & 0x55555555u;
        x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
        x = (x + (x >> 4)) & 0x0F0F0F0Fu;
        x += x >> 8;
        n += (int)((x + (x >> 16)) & 0x3Fu);
    }
    return n;
}

/* The ids whose bits are set in bits ^ flip. They stand close together or far apart, so words without any are passed several at a time. */
static int list(const uint32_t *bits, int vocab, uint32_t flip, int32_t *out)
{
    enum { BLOCK = 8 };
    int n = 0, words = (int)ops_mask_words(vocab);
    for (int first = 0; first < words; first += BLOCK) {
        int end = first + BLOCK < words ? first + BLOCK : words;
        uint32_t any = 0;
        for (int i = first; i < end; i++) any |= bits[i] ^ flip;
        for (int i = first; any && i < end; i++) {
            uint32_t word = bits[i] ^ flip;
            if (i == words - 1) word &= last_word(vocab);
            for (; word; word &= word - 1) out[n++] = 32 * i + __builtin_ctz(word);
        }
    }
    return n;
}

step_plan_mask step_plan_mask_pack(const uint32_t *bits, int vocab, int32_t *words)
{
    int n_words = (int)ops_mask_words(vocab);
    uint32_t last = bits[n_words - 1] & last_word(vocab);
    int allowed = count(bits, n_words - 1) + count(&last, 1);
    if (allowed <= n_words) return (step_plan_mask){STEP_PLAN_MASK_ALLOW, list(bits, vocab, 0, words), words};
    if (vocab - allowed <= n_words) return (step_plan_mask){STEP_PLAN_MASK_DENY, list(bits, vocab, ~0u, words), words};
    memcpy(words, bits, (size_t)n_words * sizeof *words);
    return (step_plan_mask){STEP_PLAN_MASK_BITS, n_words, words};
}

void step_plan_mask_unpack(const step_plan_mask *mask, int vocab, uint32_t *bits)
{
    size_t bytes = ops_mask_words(vocab) * sizeof *bits;
    if (mask->kind == STEP_PLAN_MASK_BITS) {
        memcpy(bits, mask->words, bytes);
        return;
    }
    bool allow = mask->kind == STEP_PLAN_MASK_ALLOW;
    memset(bits, allow ? 0 : 0xff, bytes);
    for (int i = 0; i < mask->n; i++) {
        uint32_t bit = 1u << mask->words[i] % 32;
        if (allow) bits[mask->words[i] / 32] |= bit;
        else bits[mask->words[i] / 32] &= ~bit;
    }
}
