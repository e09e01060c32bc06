/* Characters to bytes: UTF-8, and the escapes of JSON strings (RFC 8259, 7). */
#include <stdlib.h>

#include "runtime/grammar/program_build.h"
#include "runtime/grammar/utf8_ranges.h"

enum { MAX_SHARED = 64 };

/* Nodes that were made for one character set, so that equal endings are made once. */
typedef struct writer {
    program_build *b;
    uint32_t next;
    uint32_t shared[MAX_SHARED]; /* nodes */
    int n_shared;
    program_edges *out;
} writer;

static uint32_t shared_range(writer *w, uint8_t low, uint8_t high, uint32_t next)
{
    for (int i = 0; i < w->n_shared; i++) {
        const program_node *node = &w->b->g->nodes[w->shared[i]];
        if (node->low == low && node->high == high && node->next == next) return w->shared[i];
    }
    uint32_t made =
        program_build_node(w->b, (program_node){.kind = PROGRAM_KIND_RANGE, .low = low, .high = high, .next = next});
    if (w->n_shared < MAX_SHARED && !program_build_broken(w->b)) w->shared[w->n_shared++] = made;
    return made;
}

static void write_sequence(void *user, const utf8_ranges_sequence *s)
{
    writer *w = user;
    uint32_t next = w->next;
    if (program_build_broken(w->b)) return;
    for (int i = s->n - 1; i > 0; i--) next = shared_range(w, s->at[i].low, s->at[i].high, next);
    program_build_edge(w->b, w->out, s->at[0].low, s->at[0].high, next);
}

static uint32_t bytes_node(program_build *b, const char *bytes, uint32_t next)
{
    program_edges edges = {0};
    for (; *bytes; bytes++) program_build_edge(b, &edges, (unsigned char)*bytes, (unsigned char)*bytes, next);
    uint32_t node = program_build_switch(b, &edges);
    free(edges.items);
    return node;
}

static uint32_t two_ways(program_build *b, uint32_t one, uint32_t other)
{
    return program_build_split(b, (uint32_t[]){one, other}, 2, UINT32_MAX);
}

static uint32_t hex(program_build *b, int n, uint32_t next)
{
    for (int i = 0; i < n; i++) next = bytes_node(b, "0123456789ABCDEFabcdef", next);
    return next;
}

/* What may follow a backslash to make any character: RFC 8259; surrogates in pairs only, as parsers that check want
 * them. */
static uint32_t any_escape(program_build *b, uint32_t next)
{
    uint32_t low_half = hex(b, 2, next);
    low_half = bytes_node(b, "Dd", bytes_node(b, "CDEFcdef", low_half));
    low_half = bytes_node(b, "\\", bytes_node(b, "u", low_half));
    uint32_t plain = bytes_node(b, "0123456789ABCEFabcef", hex(b, 3, next));
    uint32_t below = bytes_node(b, "01234567", hex(b, 2, next));
    uint32_t pair = bytes_node(b, "89ABab", hex(b, 2, low_half));
    uint32_t d = bytes_node(b, "Dd", two_ways(b, below, pair));
    return two_ways(b, bytes_node(b, "\"/\\bfnrt", next), bytes_node(b, "u", two_ways(b, plain, d)));
}

/* What may follow a backslash to make those characters of `set` that cannot stand for themselves. UINT32_MAX: nothing.
 */
static uint32_t needed_escapes(program_build *b, const charset *set, uint32_t next)
{
    static const struct {
        char c, letter;
    } letters[] = {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};
    uint32_t ways[3];
    size_t n = 0;
    char some[33];
    size_t n_some = 0;
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (charset_has(set, (unsigned char)letters[i].c)) some[n_some++] = letters[i].letter;
    some[n_some] = '\0';
    if (n_some) ways[n++] = bytes_node(b, some, next);
    for (unsigned high = 0; high < 2; high++) {
        n_some = 0;
        for (unsigned low = 0; low < 16; low++) {
            if (!charset_has(set, high * 16 + low)) continue;
            some[n_some++] = "0123456789abcdef"[low];
            if (low >= 10) some[n_some++] = "0123456789ABCDEF"[low];
        }
        some[n_some] = '\0';
        if (n_some == 0) continue;
        uint32_t last = bytes_node(b, high ? "1" : "0", bytes_node(b, some, next));
        ways[n++] = bytes_node(b, "u", bytes_node(b, "0", bytes_node(b, "0", last)));
    }
    if (n == 0) return UINT32_MAX;
    return n == 1 ? ways[0] : program_build_split(b, ways, n, UINT32_MAX);
}

/* Edges for the ASCII part of a range that need no escape. */
static void write_ascii(program_build *b, charset_range range, expr_encoding encoding, uint32_t next,
                        program_edges *out)
{
    static const charset_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x7F}}, whole[] = {{0, 0x7F}};
    const charset_range *parts = encoding == EXPR_UTF8 ? whole : plain;
    size_t n = encoding == EXPR_UTF8 ? 1 : 3;
    for (size_t i = 0; i < n; i++) {
        uint32_t low = range.low > parts[i].low ? range.low : parts[i].low,
                 high = range.high < parts[i].high ? range.high : parts[i].high;
        if (low <= high) program_build_edge(b, out, low, high, next);
    }
}

void program_chars(program_build *b, const charset *set, expr_encoding encoding, uint32_t next, program_edges *out)
{
    writer w = {.b = b, .next = next, .out = out};
    for (size_t i = 0; i < set->n; i++) {
        charset_range range = set->ranges[i];
        write_ascii(b, range, encoding, next, out);
        if (range.low < 0x80) range.low = 0x80;
        if (range.low <= range.high) utf8_ranges_split(range, write_sequence, &w);
    }
    if (encoding == EXPR_UTF8) return;
    uint32_t escapes = encoding == EXPR_JSON_ANY ? any_escape(b, next) : needed_escapes(b, set, next);
    if (escapes != UINT32_MAX) program_build_edge(b, out, '\\', '\\', escapes);
}
