#include "runtime/grammar/dfa.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/utf8_ranges.h"

/* ---- alphabets --------------------------------------------------------------------------------------------------- */

void dfa_alphabet_free(dfa_alphabet *a)
{
    free(a->cuts);
    free(a->classes);
    *a = (dfa_alphabet){0};
}

static void cut(expr_pool *p, dfa_alphabet *a, uint32_t low, uint32_t high)
{
    for (int i = 0; i < 2; i++) {
        if (a->n_cuts >= EXPR_MAX_RANGES) {
            expr_pool_too_large(p);
            return;
        }
        if (!expr_grow(&a->cuts, a->n_cuts, &a->capacity, sizeof *a->cuts)) {
            expr_pool_no_memory(p);
            return;
        }
        a->cuts[a->n_cuts++] = i ? high + 1 : low;
    }
}

void dfa_alphabet_add_text(expr_pool *p, dfa_alphabet *a, const char *text, size_t size)
{
    for (const char *at = text; at < text + size;) {
        uint32_t c = utf8_ranges_decode(&at);
        cut(p, a, c, c);
    }
}

void dfa_alphabet_add(expr_pool *p, dfa_alphabet *a, expr e)
{
    const expr_node *node = &p->nodes[e];
    switch (node->kind) {
    case EXPR_KIND_BYTES: dfa_alphabet_add_text(p, a, p->bytes.data + node->a, node->n); break;
    case EXPR_KIND_CHARS:
        for (size_t i = 0; i < p->sets[node->a].n; i++)
            cut(p, a, p->sets[node->a].ranges[i].low, p->sets[node->a].ranges[i].high);
        break;
    case EXPR_KIND_CAT:
    case EXPR_KIND_ALT:
        for (uint32_t i = 0; i < node->n; i++) dfa_alphabet_add(p, a, p->kids[node->a + i]);
        break;
    case EXPR_KIND_REPEAT: dfa_alphabet_add(p, a, node->a); break;
    default: break;
    }
}

static int compare_cuts(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void dfa_alphabet_seal(expr_pool *p, dfa_alphabet *a)
{
    cut(p, a, 0, CHARSET_LAST);
    cut(p, a, 0xD800, 0xDFFF);
    a->classes = malloc((a->n_cuts + 1) * sizeof *a->classes);
    if (!a->classes) {
        expr_pool_no_memory(p);
        return;
    }
    if (a->n_cuts) qsort(a->cuts, a->n_cuts, sizeof *a->cuts, compare_cuts);
    for (size_t i = 0; i + 1 < a->n_cuts; i++) {
        uint32_t low = a->cuts[i], after = a->cuts[i + 1];
        if (low == after || low > CHARSET_LAST || low == 0xD800) continue;
        a->classes[a->n_classes++] = (charset_range){low, after - 1};
    }
}

/* ---- making and walking ------------------------------------------------------------------------------------------ */

dfa *dfa_new(expr_pool *p, const charset_range *classes, size_t n_classes, size_t n_states)
{
    if (n_states > DFA_MAX_STATES || n_states * n_classes > EXPR_MAX_CELLS) {
        expr_pool_too_large(p);
        return NULL;
    }
    dfa *d = calloc(1, sizeof *d);
    if (!d) goto no_memory;
    d->n_states = (uint32_t)n_states;
    d->n_classes = (uint32_t)n_classes;
    d->classes = malloc((n_classes + 1) * sizeof *d->classes);
    d->next = malloc((n_states * n_classes + 1) * sizeof *d->next);
    d->accepts = calloc(n_states + 1, sizeof *d->accepts);
    if (!d->classes || !d->next || !d->accepts) goto no_memory;
    memcpy(d->classes, classes, n_classes * sizeof *classes);
    memset(d->next, 0xFF, n_states * n_classes * sizeof *d->next);
    return d;

no_memory:
    dfa_free(d);
    expr_pool_no_memory(p);
    return NULL;
}

void dfa_free(dfa *d)
{
    if (!d) return;
    free(d->classes);
    free(d->next);
    free(d->accepts);
    free(d->pairs);
    dfa_free(d->base);
    free(d);
}

dfa *dfa_copy(expr_pool *p, const dfa *d)
{
    if (!d) return NULL;
    dfa *copy = dfa_new(p, d->classes, d->n_classes, d->n_states);
    if (!copy) return NULL;
    memcpy(copy->next, d->next, (size_t)d->n_states * d->n_classes * sizeof *d->next);
    memcpy(copy->accepts, d->accepts, d->n_states * sizeof *d->accepts);
    return copy;
}

static uint32_t class_of(const dfa *d, uint32_t c)
{
    uint32_t low = 0, high = d->n_classes;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (d->classes[middle].low <= c) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

bool dfa_accepts(const dfa *d, const char *text, size_t size)
{
    if (d->n_states == 0) return false;
    uint32_t state = 0;
    for (const char *at = text; at < text + size && state != DFA_DEAD;)
        state = d->next[(size_t)state * d->n_classes + class_of(d, utf8_ranges_decode(&at))];
    return state != DFA_DEAD && d->accepts[state];
}

dfa *dfa_of_length(expr_pool *p, const dfa_alphabet *a, uint32_t least, uint32_t most)
{
    uint32_t last = most == EXPR_NO_LIMIT ? least : most;
    if (last >= DFA_MAX_STATES) {
        expr_pool_too_large(p);
        return NULL;
    }
    dfa *d = dfa_new(p, a->classes, a->n_classes, (size_t)last + 1);
    if (!d) return NULL;
    for (uint32_t s = 0; s <= last; s++) {
        uint32_t to = s < last ? s + 1 : most == EXPR_NO_LIMIT ? last : DFA_DEAD;
        for (uint32_t c = 0; c < d->n_classes; c++) d->next[(size_t)s * d->n_classes + c] = to;
        d->accepts[s] = s >= least;
    }
    return d;
}

dfa *dfa_complement(expr_pool *p, dfa *d)
{
    if (!d) return NULL;
    dfa *out = dfa_new(p, d->classes, d->n_classes, (size_t)d->n_states + 1);
    uint32_t sink = d->n_states; /* and the start of an automaton that accepts nothing */
    if (out) {
        size_t cells = (size_t)d->n_states * d->n_classes;
        for (size_t i = 0; i < cells; i++) out->next[i] = d->next[i] == DFA_DEAD ? sink : d->next[i];
        for (uint32_t c = 0; c < d->n_classes; c++) out->next[cells + c] = sink;
        for (uint32_t s = 0; s < d->n_states; s++) out->accepts[s] = !d->accepts[s];
        out->accepts[sink] = true;
    }
    dfa_free(d);
    return dfa_trim(p, out);
}

/* ---- trimming ---------------------------------------------------------------------------------------------------- */

/* Lists, for every state, the states that lead to it: heads[s]..heads[s + 1] in `from`. */
static bool reverse(const dfa *d, uint32_t **heads, uint32_t **from)
{
    size_t cells = (size_t)d->n_states * d->n_classes;
    *heads = calloc((size_t)d->n_states + 2, sizeof **heads);
    *from = malloc((cells + 1) * sizeof **from);
    if (!*heads || !*from) return false;
    for (size_t i = 0; i < cells; i++)
        if (d->next[i] != DFA_DEAD) (*heads)[d->next[i] + 2]++;
    for (uint32_t s = 1; s < d->n_states + 2; s++) (*heads)[s] += (*heads)[s - 1];
    for (size_t i = 0; i < cells; i++)
        if (d->next[i] != DFA_DEAD) (*from)[(*heads)[d->next[i] + 1]++] = (uint32_t)(i / d->n_classes);
    return true;
}

/* number[s]: DFA_DEAD for states that reach no accepted text, else 0. */
static bool find_alive(const dfa *d, uint32_t *number)
{
    uint32_t *heads = NULL, *from = NULL, *stack = malloc(((size_t)d->n_states + 1) * sizeof *stack);
    bool found = stack && reverse(d, &heads, &from);
    size_t n = 0;
    for (uint32_t s = 0; found && s < d->n_states; s++) {
        number[s] = d->accepts[s] ? 0 : DFA_DEAD;
        if (d->accepts[s]) stack[n++] = s;
    }
    while (found && n) {
        uint32_t s = stack[--n];
        for (uint32_t i = heads[s]; i < heads[s + 1]; i++) {
            if (number[from[i]] == 0) continue;
            number[from[i]] = 0;
            stack[n++] = from[i];
        }
    }
    free(stack);
    free(heads);
    free(from);
    return found;
}

dfa *dfa_trim(expr_pool *p, dfa *d)
{
    if (!d) return NULL;
    uint32_t *number = malloc(((size_t)d->n_states + 1) * sizeof *number);
    if (!number || !find_alive(d, number)) {
        free(number);
        dfa_free(d);
        expr_pool_no_memory(p);
        return NULL;
    }
    uint32_t kept = 0;
    for (uint32_t s = 0; s < d->n_states; s++)
        if (number[s] != DFA_DEAD) number[s] = kept++;
    if (d->n_states == 0 || number[0] == DFA_DEAD) kept = 0;
    for (uint32_t s = 0; kept && s < d->n_states; s++) {
        if (number[s] == DFA_DEAD) continue;
        uint32_t *to = d->next + (size_t)number[s] * d->n_classes, *of = d->next + (size_t)s * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++) to[c] = of[c] == DFA_DEAD ? DFA_DEAD : number[of[c]];
        d->accepts[number[s]] = d->accepts[s];
        if (d->pairs) d->pairs[number[s]] = d->pairs[s];
    }
    d->n_states = kept;
    free(number);
    return d;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* One round: the runs of one more character. True when anything grew. */
static bool lengthen_runs(const dfa *d, const bool *in_class, uint8_t *least, uint8_t *most, uint8_t round)
{
    bool grew = false;
    for (uint32_t s = 0; s < d->n_states; s++) {
        if (least[s] < round - 1 && most[s] < round - 1) continue;
        bool all = true, any = false;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            if (!in_class[c]) continue;
            uint32_t to = d->next[(size_t)s * d->n_classes + c];
            bool goes_least = to != DFA_DEAD && least[to] >= round - 1;
            bool goes_most = to != DFA_DEAD && most[to] >= round - 1;
            all &= goes_least;
            any |= goes_most;
        }
        if (all && least[s] == round - 1) least[s] = round, grew = true;
        if (any && most[s] == round - 1) most[s] = round, grew = true;
    }
    return grew;
}

void dfa_runs(const dfa *d, slice_class class, uint8_t *least, uint8_t *most)
{
    size_t n;
    const charset_range *ranges = slice_ranges(class, &n);
    bool *in_class = calloc(d->n_classes + 1, sizeof *in_class);
    memset(least, 0, d->n_states);
    memset(most, 0, d->n_states);
    if (!in_class) {
        memset(most, SLICE_CHARS, d->n_states); /* says nothing, and that is always true */
        return;
    }
    for (uint32_t c = 0; c < d->n_classes; c++) in_class[c] = charset_meets(&d->classes[c], 1, ranges, n);
    for (uint8_t round = 1; round <= SLICE_CHARS; round++)
        if (!lengthen_runs(d, in_class, least, most, round)) break;
    free(in_class);
}
