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
    [SLICE_TEXT] = {text, 4},       [SLICE_ASCII] = {ascii, 3},     [SLICE_WORDS] = {words_, 4},
    [SLICE_ALPHANUMERIC] = {alphanumeric, 3}, [SLICE_LETTERS] = {letters, 2}, [SLICE_LOWER] = {lower, 1},
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

/* Where a subtree is all slice, its longest token; from the leaves up. `chars` is by token. */
static void find_most_chars(const trie *all, const uint8_t *chars, uint8_t *most)
{
    for (size_t i = all->n; i-- > 0;) {
        const trie_node *node = &all->nodes[i];
        unsigned longest = 0;
        if (node->token != TRIE_NO_TOKEN) longest = chars[node->token] ? chars[node->token] : SLICE_OTHERS;
        for (size_t child = i + 1; child < i + node->size && longest != SLICE_OTHERS; child += all->nodes[child].size)
            if (most[child] > longest) longest = most[child];
        most[i] = (uint8_t)longest;
    }
}

bool slice_build(slice_class class, const trie_key *keys, size_t n, const trie *all, size_t words, slice *out)
{
    slice s = {.masks = calloc(SLICE_CHARS * words, sizeof *s.masks), .most_chars = malloc(all->n + 1)};
    trie_key *others = malloc((n ? n : 1) * sizeof *others);
    uint8_t *chars_of = calloc(words * 32 + 1, 1);
    size_t n_others = 0;
    bool built = false;
    if (!s.masks || !s.most_chars || !others || !chars_of) goto done;
    for (size_t i = 0; i < n; i++) {
        int chars = slice_count_chars(class, keys[i].bytes, keys[i].size);
        if (chars == 0) {
            others[n_others++] = keys[i];
            continue;
        }
        uint32_t token = keys[i].token;
        s.masks[(size_t)(chars - 1) * words + token / 32] |= UINT32_C(1) << (token % 32);
        s.counts[chars - 1]++;
        chars_of[token] = (uint8_t)chars;
    }
    for (size_t level = 1; level < SLICE_CHARS; level++) {
        s.counts[level] += s.counts[level - 1];
        for (size_t w = 0; w < words; w++) s.masks[level * words + w] |= s.masks[(level - 1) * words + w];
    }
    find_most_chars(all, chars_of, s.most_chars);
    built = trie_build(others, n_others, &s.rest);
done:
    free(others);
    free(chars_of);
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
    free(s->most_chars);
    trie_free(&s->rest);
    *s = (slice){0};
}
