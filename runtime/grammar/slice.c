#include "runtime/grammar/slice.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

static const charset_range text[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, 0x10FFFF}};
static const charset_range ascii[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x7E}};
static const charset_range words_[] = {{' ', ' '}, {'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
static const charset_range alphanumeric[] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
static const charset_range letters[] = {{'A', 'Z'}, {'a', 'z'}};
static const charset_range lower[] = {{'a', 'z'}};

static const struct {
    const charset_range *ranges;
    size_t n;
} classes[SLICE_CLASSES] = {
    [SLICE_TEXT] = {text, 4},       [SLICE_ASCII] = {ascii, 3},
    [SLICE_WORDS] = {words_, 4},    [SLICE_ALPHANUMERIC] = {alphanumeric, 3},
    [SLICE_LETTERS] = {letters, 2}, [SLICE_LOWER] = {lower, 1},
};

const charset_range *slice_ranges(slice_class class, size_t *n)
{
    *n = classes[class].n;
    return classes[class].ranges;
}

bool slice_byte_begins(slice_class class, unsigned byte)
{
    if (byte >= 0x80) return class == SLICE_TEXT && byte >= 0xC2 && byte <= 0xF4;
    for (size_t i = 0; i < classes[class].n; i++)
        if (classes[class].ranges[i].low <= byte && byte <= classes[class].ranges[i].high) return true;
    return false;
}

int slice_count_chars(slice_class class, const unsigned char *bytes, size_t size)
{
    int chars = 0;
    bool ascii_only = true;
    for (size_t i = 0; i < size; i++) {
        if ((bytes[i] & 0xC0) == 0x80) continue;
        if (!slice_byte_begins(class, bytes[i]) || ++chars > SLICE_CHARS) return 0;
        ascii_only &= bytes[i] < 0x80;
    }
    /* A class has either no character beyond ASCII or all of them, so valid bytes are all that is left to ask for. */
    if (ascii_only) return size == (size_t)chars ? chars : 0;
    return utf8_valid((const char *)bytes, size) ? chars : 0;
}

/* Puts the keys into the order of `chars`, which has 0 for those of no slice; the order among equals stays. starts[c]
 * is where c begins. */
static void sort_by_chars(const trie_key *keys, size_t n, const uint8_t *chars, trie_key *sorted,
                          size_t starts[SLICE_CHARS + 2])
{
    memset(starts, 0, (SLICE_CHARS + 2) * sizeof *starts);
    for (size_t i = 0; i < n; i++) starts[chars[i] + 1]++;
    for (size_t c = 1; c < SLICE_CHARS + 2; c++) starts[c] += starts[c - 1];
    size_t next[SLICE_CHARS + 2];
    memcpy(next, starts, sizeof next);
    for (size_t i = 0; i < n; i++) sorted[next[chars[i]]++] = keys[i];
}

static void fill_masks(slice *s, const trie_key *sorted, const size_t starts[SLICE_CHARS + 2], size_t words)
{
    for (size_t level = 0; level < SLICE_CHARS; level++) {
        uint32_t *mask = s->masks + level * words;
        if (level) memcpy(mask, mask - words, words * sizeof *mask);
        for (size_t i = starts[level + 1]; i < starts[level + 2]; i++)
            mask[sorted[i].token / 32] |= UINT32_C(1) << (sorted[i].token % 32);
        s->counts[level] = (uint32_t)(starts[level + 2] - starts[1]);
    }
}

bool slice_build(slice_class class, const trie_key *keys, size_t n, size_t words, slice *out)
{
    slice s = {.masks = calloc(SLICE_CHARS * words, sizeof *s.masks)};
    trie_key *sorted = malloc((n + 1) * sizeof *sorted);
    uint8_t *chars = malloc(n + 1);
    size_t starts[SLICE_CHARS + 2];
    bool built = s.masks && sorted && chars;
    if (built) {
        for (size_t i = 0; i < n; i++) chars[i] = (uint8_t)slice_count_chars(class, keys[i].bytes, keys[i].size);
        sort_by_chars(keys, n, chars, sorted, starts);
        fill_masks(&s, sorted, starts, words);
        built = trie_build(sorted, starts[1], &s.rest);
    }
    for (size_t c = 1; c <= SLICE_CHARS && built; c++)
        built = trie_build(sorted + starts[c], starts[c + 1] - starts[c], &s.of_chars[c - 1]);
    free(sorted);
    free(chars);
    if (built) {
        *out = s;
    } else {
        slice_free(&s);
    }
    return built;
}

void slice_free(slice *s)
{
    free(s->masks);
    trie_free(&s->rest);
    for (size_t c = 0; c < SLICE_CHARS; c++) trie_free(&s->of_chars[c]);
    *s = (slice){0};
}
