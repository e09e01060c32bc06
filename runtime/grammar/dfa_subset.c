/* Expression to automaton: Thompson's construction, then sets of positions (Aho, Sethi, Ullman, "Compilers", 3.7). */
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/utf8_ranges.h"

enum { MAX_POSITIONS = 200000, MAX_SET_ITEMS = 1 << 24, MAX_WORK = 1 << 26 };
/* What dfa_subset_if_small() calls small: some milliseconds, and states as an email address or a host name has them. */
enum { SMALL_POSITIONS = 3000, SMALL_STATES = 3000, SMALL_WORK = 1 << 20, SMALL_DEPTH = 200 };

typedef enum position_kind { POSITION_ACCEPT, POSITION_CHARS, POSITION_CHAR, POSITION_SPLIT } position_kind;

typedef struct position {
    position_kind kind;
    uint32_t what; /* CHARS: set; CHAR: the character; SPLIT: the other way on */
    uint32_t next;
} position;

typedef struct builder {
    expr_pool *p;
    const dfa_alphabet *alphabet;
    position *positions;
    size_t n, capacity;
    bool small; /* limits are those of dfa_subset_if_small(), and nobody is told that they were met */
    bool failed;
    int depth; /* of add_expr() */

    uint32_t *seen; /* [n] the round in which a position was last reached */
    uint32_t round;
    uint32_t *pending; /* [n] */

    uint32_t *items; /* sets of positions, ordered, one behind the other */
    size_t n_items, items_capacity;
    size_t *starts; /* [n_states + 1] in `items` */
    size_t n_states, starts_capacity;
    uint32_t *slots; /* [n_slots] state + 1 */
    size_t n_slots;
    uint32_t *next; /* [n_states][n_classes] */
    size_t next_capacity;
    size_t work;
} builder;

static uint32_t too_large(builder *b)
{
    if (!b->small) expr_pool_too_large(b->p);
    b->failed = true;
    return 0;
}

static uint32_t no_memory(builder *b)
{
    expr_pool_no_memory(b->p);
    b->failed = true;
    return 0;
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

static uint32_t add_position(builder *b, position_kind kind, uint32_t what, uint32_t next)
{
    if (b->failed) return 0;
    if (b->n >= (b->small ? SMALL_POSITIONS : MAX_POSITIONS)) return too_large(b);
    if (!expr_grow(&b->positions, b->n, &b->capacity, sizeof *b->positions)) return no_memory(b);
    b->positions[b->n] = (position){kind, what, next};
    return (uint32_t)b->n++;
}

static uint32_t add_expr(builder *b, expr e, uint32_t next);

static uint32_t add_bytes(builder *b, const expr_node *node, uint32_t next)
{
    const char *text = b->p->bytes.data + node->a;
    size_t end = node->n;
    while (end > 0) {
        size_t start = end - 1;
        while (((unsigned char)text[start] & 0xC0) == 0x80) start--;
        const char *at = text + start;
        next = add_position(b, POSITION_CHAR, utf8_ranges_decode(&at), next);
        end = start;
    }
    return next;
}

static uint32_t add_repeat(builder *b, const expr_node *node, uint32_t next)
{
    expr body = node->a;
    uint32_t least = node->n, most = node->max;
    if (most == EXPR_NO_LIMIT) {
        uint32_t loop = add_position(b, POSITION_SPLIT, next, 0);
        uint32_t first = add_expr(b, body, loop);
        if (b->failed) return 0;
        b->positions[loop].next = first;
        next = loop;
        most = least;
    }
    uint32_t end = next; /* from where no more follows; to skip one copy after the other would make sets of them all */
    for (uint32_t i = most; i > 0 && !b->failed; i--) {
        uint32_t first = add_expr(b, body, next);
        next = i > least ? add_position(b, POSITION_SPLIT, first, end) : first;
    }
    return next;
}

/* A rule's body in its place. Recursion ends at one of the limits. */
static uint32_t add_rule(builder *b, uint32_t rule, uint32_t next)
{
    if (!b->small) return add_position(b, POSITION_CHARS, UINT32_MAX, next);
    if (b->depth == SMALL_DEPTH) return too_large(b);
    b->depth++;
    next = add_expr(b, b->p->rules[rule].body, next);
    b->depth--;
    return next;
}

/* The position before `e` when `next` is the one behind it. */
static uint32_t add_expr(builder *b, expr e, uint32_t next)
{
    expr_node node = b->p->nodes[e];
    if (b->failed) return 0;
    if (b->small && ++b->work > SMALL_WORK) return too_large(b);
    switch ((expr_kind)node.kind) {
    case EXPR_KIND_EMPTY: return next;
    case EXPR_KIND_BYTES: return add_bytes(b, &node, next);
    case EXPR_KIND_CHARS: return add_position(b, POSITION_CHARS, node.a, next);
    case EXPR_KIND_CAT:
        for (uint32_t i = node.n; i > 0; i--) next = add_expr(b, b->p->kids[node.a + i - 1], next);
        return next;
    case EXPR_KIND_ALT: {
        uint32_t all = add_expr(b, b->p->kids[node.a], next);
        for (uint32_t i = 1; i < node.n; i++)
            all = add_position(b, POSITION_SPLIT, all, add_expr(b, b->p->kids[node.a + i], next));
        return all;
    }
    case EXPR_KIND_REPEAT: return add_repeat(b, &node, next);
    case EXPR_KIND_RULE: return add_rule(b, node.a, next);
    default: return add_position(b, POSITION_CHARS, UINT32_MAX, next); /* no text */
    }
}

/* ---- sets of positions ------------------------------------------------------------------------------------------- */

static int compare_positions(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Appends what can be reached from `from` without a character to the set that grows at the end of `items`. */
static void reach(builder *b, uint32_t from)
{
    size_t n = 0;
    if (b->seen[from] == b->round) return;
    b->seen[from] = b->round;
    b->pending[n++] = from;
    while (n) {
        uint32_t at = b->pending[--n];
        b->work++;
        const position *reached = &b->positions[at];
        if (reached->kind == POSITION_SPLIT) {
            const uint32_t ways[] = {reached->next, reached->what};
            for (int i = 0; i < 2; i++) {
                if (b->seen[ways[i]] == b->round) continue;
                b->seen[ways[i]] = b->round;
                b->pending[n++] = ways[i];
            }
            continue;
        }
        if (b->n_items >= MAX_SET_ITEMS) {
            too_large(b);
            return;
        }
        if (!expr_grow(&b->items, b->n_items, &b->items_capacity, sizeof *b->items)) {
            no_memory(b);
            return;
        }
        b->items[b->n_items++] = at;
    }
}

static uint64_t hash_of(const uint32_t *items, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) h = (h ^ items[i] ^ h >> 31) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

static bool rehash(builder *b)
{
    size_t n_slots = b->n_slots ? b->n_slots * 2 : 64;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    free(b->slots);
    b->slots = slots;
    b->n_slots = n_slots;
    for (size_t s = 0; s < b->n_states; s++) {
        size_t at = hash_of(b->items + b->starts[s], b->starts[s + 1] - b->starts[s]) & (n_slots - 1);
        while (slots[at]) at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)s + 1;
    }
    return true;
}

/* Turns what grew behind the last state into a state, or finds the one that it is. DFA_DEAD for the empty set. */
static uint32_t close_set(builder *b)
{
    size_t start = b->n_states ? b->starts[b->n_states] : 0, n = b->n_items - start;
    if (b->failed || n == 0) return DFA_DEAD;
    qsort(b->items + start, n, sizeof *b->items, compare_positions);
    if (b->n_states * 2 >= b->n_slots && !rehash(b)) return no_memory(b);
    size_t at = hash_of(b->items + start, n) & (b->n_slots - 1);
    for (; b->slots[at]; at = (at + 1) & (b->n_slots - 1)) {
        uint32_t s = b->slots[at] - 1;
        if (b->starts[s + 1] - b->starts[s] != n) continue;
        if (memcmp(b->items + b->starts[s], b->items + start, n * sizeof *b->items) != 0) continue;
        b->n_items = start;
        return s;
    }
    size_t most_states = b->small ? SMALL_STATES : DFA_MAX_STATES,
           most_cells = b->small ? DFA_SMALL_CELLS : EXPR_MAX_CELLS;
    if (b->n_states + 1 >= most_states || (b->n_states + 1) * (b->alphabet->n_classes + 1) > most_cells)
        return too_large(b);
    for (size_t i = b->n_states; i < b->n_states + 2; i++)
        if (!expr_grow(&b->starts, i, &b->starts_capacity, sizeof *b->starts)) return no_memory(b);
    b->starts[b->n_states] = start;
    b->starts[b->n_states + 1] = b->n_items;
    b->slots[at] = (uint32_t)++b->n_states;
    return (uint32_t)b->n_states - 1;
}

static bool takes(const builder *b, const position *at, uint32_t c)
{
    if (at->kind == POSITION_CHAR) return at->what == c;
    return at->kind == POSITION_CHARS && at->what != UINT32_MAX && charset_has(&b->p->sets[at->what], c);
}

static uint32_t step(builder *b, size_t state, uint32_t c)
{
    b->round++;
    for (size_t i = b->starts[state]; i < b->starts[state + 1] && !b->failed; i++) {
        const position *at = &b->positions[b->items[i]];
        if (takes(b, at, c)) reach(b, at->next);
    }
    b->work += b->starts[state + 1] - b->starts[state];
    if (b->work > (b->small ? SMALL_WORK : MAX_WORK)) too_large(b);
    return close_set(b);
}

static void determinise(builder *b, uint32_t first)
{
    b->round = 1;
    reach(b, first);
    close_set(b);
    for (size_t s = 0; s < b->n_states && !b->failed; s++)
        for (size_t c = 0; c < b->alphabet->n_classes && !b->failed; c++) {
            size_t cell = s * b->alphabet->n_classes + c;
            if (!expr_grow(&b->next, cell, &b->next_capacity, sizeof *b->next)) {
                no_memory(b);
                return;
            }
            b->next[cell] = step(b, s, b->alphabet->classes[c].low);
        }
}

static dfa *to_dfa(const builder *b)
{
    dfa *d = dfa_new(b->p, b->alphabet->classes, b->alphabet->n_classes, b->n_states);
    if (!d) return NULL;
    memcpy(d->next, b->next, b->n_states * b->alphabet->n_classes * sizeof *b->next);
    for (size_t s = 0; s < b->n_states; s++)
        for (size_t i = b->starts[s]; i < b->starts[s + 1]; i++)
            if (b->positions[b->items[i]].kind == POSITION_ACCEPT) d->accepts[s] = true;
    return dfa_trim(b->p, d);
}

static dfa *subset(expr_pool *p, const dfa_alphabet *a, expr e, bool small)
{
    builder b = {.p = p, .alphabet = a, .small = small};
    dfa *out = NULL;
    if (p->no_memory || p->too_large) return NULL;
    uint32_t accept = add_position(&b, POSITION_ACCEPT, 0, 0);
    uint32_t first = add_expr(&b, e, accept);
    b.seen = calloc(b.n + 1, sizeof *b.seen);
    b.pending = malloc((b.n + 1) * sizeof *b.pending);
    if (!b.seen || !b.pending) no_memory(&b);
    if (!b.failed) determinise(&b, first);
    if (!b.failed) out = to_dfa(&b);
    free(b.positions);
    free(b.seen);
    free(b.pending);
    free(b.items);
    free(b.starts);
    free(b.slots);
    free(b.next);
    return out;
}

dfa *dfa_subset(expr_pool *p, const dfa_alphabet *a, expr e) { return subset(p, a, e, false); }
dfa *dfa_subset_if_small(expr_pool *p, const dfa_alphabet *a, expr e) { return subset(p, a, e, true); }
