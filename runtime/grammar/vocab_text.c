#include "runtime/grammar/vocab_text.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/utf8_ranges.h"

/* ---- one character ----------------------------------------------------------------------------------------------- */

/* The characters whose UTF-8 begins with the `size` bytes; false: there are none. */
static bool cut_utf8(const unsigned char *bytes, size_t size, vocab_text_cut *cut)
{
    static const struct {
        unsigned char low, high; /* first bytes */
        size_t n;
        uint32_t bits; /* of the first byte, that are the character's */
        charset_range range;
    } forms[] = {{0xC2, 0xDF, 2, 0x1F, {0x80, 0x7FF}},
                 {0xE0, 0xEF, 3, 0x0F, {0x800, 0xFFFF}},
                 {0xF0, 0xF4, 4, 0x07, {0x10000, CHARSET_LAST}}};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if (bytes[0] < forms[f].low || bytes[0] > forms[f].high || size >= forms[f].n) continue;
        uint32_t low = bytes[0] & forms[f].bits, high;
        for (size_t i = 1; i < size; i++) {
            if ((bytes[i] & 0xC0) != 0x80) return false;
            low = low << 6 | (bytes[i] & 0x3F);
        }
        size_t left = 6 * (forms[f].n - size);
        high = low << left | ((UINT32_C(1) << left) - 1);
        low <<= left;
        if (low < forms[f].range.low) low = forms[f].range.low; /* no longer form than is needed */
        if (high > forms[f].range.high) high = forms[f].range.high;
        if (low >= 0xD800 && low <= 0xDFFF) low = 0xE000;
        if (high >= 0xD800 && high <= 0xDFFF) high = 0xD7FF;
        cut->ranges[0] = (charset_range){low, high};
        cut->n = 1;
        return low <= high;
    }
    return false;
}

static int read_utf8(const unsigned char *bytes, size_t size, uint32_t *c, vocab_text_cut *cut)
{
    if (bytes[0] < 0x80) {
        *c = bytes[0];
        return 1;
    }
    uint8_t again[4];
    size_t n = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
    if (size < n) return cut_utf8(bytes, size, cut) ? 0 : -1;
    uint32_t value = bytes[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) value = value << 6 | (bytes[i] & 0x3F);
    if (value > CHARSET_LAST || (value >= 0xD800 && value <= 0xDFFF)) return -1;
    if (utf8_ranges_encode(value, again) != (int)n || memcmp(again, bytes, n) != 0) return -1;
    *c = value;
    return (int)n;
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What program_chars() lets stand for characters that need an escape, and nothing else: a letter, or \u00 and two
 * digits for a control character. */
static int read_escape(const unsigned char *bytes, size_t size, uint32_t *c, vocab_text_cut *cut)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    *cut = (vocab_text_cut){{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}, 3};
    if (size == 1) return 0;
    const char *letter = memchr(letters, bytes[1], sizeof letters - 1);
    if (letter) *c = (unsigned char)meanings[letter - letters];
    if (letter) return 2;
    *cut = (vocab_text_cut){{{0, 0x1F}}, 1};
    if (memcmp(bytes + 1, "u00", size - 1 < 3 ? size - 1 : 3) != 0) return -1;
    if (size <= 4) return 0;
    if (bytes[4] != '0' && bytes[4] != '1') return -1;
    uint32_t high = (uint32_t)(bytes[4] - '0') * 16;
    cut->ranges[0] = (charset_range){high, high + 15};
    if (size == 5) return 0;
    int low = hex_value(bytes[5]);
    *c = high + (uint32_t)low;
    return low < 0 ? -1 : 6;
}

int vocab_text_char(const unsigned char *bytes, size_t size, expr_encoding encoding, uint32_t *c, vocab_text_cut *cut)
{
    if (encoding == EXPR_UTF8 || (bytes[0] >= 0x20 && bytes[0] != '"' && bytes[0] != '\\'))
        return read_utf8(bytes, size, c, cut);
    return bytes[0] == '\\' ? read_escape(bytes, size, c, cut) : -1;
}

/* ---- all tokens -------------------------------------------------------------------------------------------------- */

typedef struct reader {
    expr_encoding encoding;
    vocab_text t;
    size_t stream_capacity, cuts_capacity;
    uint32_t before[TRIE_MAX_TOKEN], chars[TRIE_MAX_TOKEN]; /* of the last entry, and the one being read */
    size_t n_before, n_chars;
    trie_key *tails; /* [n_closing] what is left of closing tokens; their `token` is the entry */
    size_t n_closing;
} reader;

static bool same_cut(const vocab_text_cut *a, const vocab_text_cut *b)
{
    return a->n == b->n && memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0;
}

/* The number of a cut. UINT32_MAX: no memory. */
static uint32_t number_cut(reader *r, const vocab_text_cut *cut)
{
    vocab_text *t = &r->t;
    for (size_t i = t->n_cuts; i > 0; i--) /* the latest are the likeliest */
        if (same_cut(&t->cuts[i - 1], cut)) return (uint32_t)i - 1;
    if (!expr_grow(&t->cuts, t->n_cuts, &r->cuts_capacity, sizeof *t->cuts)) return UINT32_MAX;
    t->cuts[t->n_cuts] = *cut;
    return (uint32_t)t->n_cuts++;
}

/* Appends the entry whose characters are in `chars`. */
static bool add_entry(reader *r, uint32_t token, vocab_text_kind kind, uint32_t rest)
{
    vocab_text *t = &r->t;
    size_t shared = 0;
    while (shared < r->n_chars && shared < r->n_before && r->chars[shared] == r->before[shared]) shared++;
    for (size_t i = shared; i < r->n_chars; i++) {
        if (!expr_grow(&t->stream, t->n_stream, &r->stream_capacity, sizeof *t->stream)) return false;
        t->stream[t->n_stream++] = r->chars[i];
    }
    t->entries[t->n_entries++] =
        (vocab_text_entry){token, rest, (uint8_t)kind, (uint8_t)shared, (uint8_t)(r->n_chars - shared)};
    memcpy(r->before, r->chars, r->n_chars * sizeof *r->chars);
    r->n_before = r->n_chars;
    return true;
}

static bool read_token(reader *r, const trie_key *key)
{
    r->n_chars = 0;
    for (size_t at = 0; at < key->size;) {
        const unsigned char *bytes = key->bytes + at;
        vocab_text_cut cut;
        if (r->encoding != EXPR_UTF8 && *bytes == '"') {
            r->tails[r->n_closing++] = (trie_key){bytes, key->size - (uint32_t)at, (uint32_t)r->t.n_entries};
            return add_entry(r, key->token, VOCAB_TEXT_CLOSING, 0);
        }
        int size = vocab_text_char(bytes, key->size - at, r->encoding, &r->chars[r->n_chars], &cut);
        if (size < 0) return true; /* no character begins so: it never comes at the beginning of one */
        if (size == 0) {
            uint32_t number = number_cut(r, &cut);
            return number != UINT32_MAX && add_entry(r, key->token, VOCAB_TEXT_CUT, number);
        }
        r->n_chars++;
        at += (size_t)size;
    }
    return add_entry(r, key->token, VOCAB_TEXT_WHOLE, 0);
}

/* Equal tails get one number. */
static bool number_tails(reader *r)
{
    vocab_text *t = &r->t;
    trie_sort(r->tails, r->n_closing);
    for (size_t i = 0; i < r->n_closing; i++) {
        trie_key key = r->tails[i];
        const trie_key *last = &r->tails[t->n_tails - (t->n_tails > 0)];
        bool same = t->n_tails && last->size == key.size && memcmp(last->bytes, key.bytes, key.size) == 0;
        if (!same) r->tails[t->n_tails++] = key;
        t->entries[key.token].rest = (uint32_t)t->n_tails - 1;
    }
    for (size_t i = 0; i < t->n_tails; i++) r->tails[i].token = (uint32_t)i;
    return trie_build(r->tails, t->n_tails, &t->tails);
}

/* Characters become indices of those that occur. */
static bool number_letters(vocab_text *t)
{
    uint32_t *numbers = calloc(CHARSET_LAST + 1, sizeof *numbers);
    if (!numbers) return false;
    for (size_t i = 0; i < t->n_stream; i++) numbers[t->stream[i]] = 1;
    for (uint32_t c = 0; c <= CHARSET_LAST; c++) t->n_letters += numbers[c];
    t->letters = malloc((t->n_letters + 1) * sizeof *t->letters);
    for (uint32_t c = 0, n = 0; t->letters && c <= CHARSET_LAST; c++) {
        if (!numbers[c]) continue;
        t->letters[n] = c;
        numbers[c] = n++;
    }
    for (size_t i = 0; t->letters && i < t->n_stream; i++) t->stream[i] = numbers[t->stream[i]];
    free(numbers);
    return t->letters != NULL;
}

bool vocab_text_build(const trie_key *keys, size_t n, expr_encoding encoding, vocab_text *out)
{
    reader r = {.encoding = encoding};
    r.t.entries = malloc((n + 1) * sizeof *r.t.entries);
    r.tails = malloc((n + 1) * sizeof *r.tails);
    bool built = r.t.entries && r.tails;
    for (size_t i = 0; i < n && built; i++) built = read_token(&r, &keys[i]);
    built = built && number_tails(&r) && number_letters(&r.t);
    free(r.tails);
    if (built) {
        *out = r.t;
    } else {
        vocab_text_free(&r.t);
    }
    return built;
}

void vocab_text_free(vocab_text *t)
{
    free(t->entries);
    free(t->stream);
    free(t->letters);
    free(t->cuts);
    trie_free(&t->tails);
    *t = (vocab_text){0};
}
