#include "runtime/text/bpe.h"

#include <stdlib.h>
#include <string.h>

/* ---- rules ------------------------------------------------------------------------------------------------------- */

enum { FIRST_RULE_BITS = 10 };

static size_t rule_places(const bpe *b) { return (size_t)1 << (64 - b->shift); }

static uint64_t hash_of(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    /* The left id must reach the low bits as well: a product's top bits depend on all lower ones, not the other way
     * round. */
    return (key ^ key >> 29) * UINT64_C(0x9E3779B97F4A7C15);
}

static bpe_rule *place_of(const bpe *b, int32_t left, int32_t right)
{
    size_t mask = rule_places(b) - 1;
    for (size_t i = (size_t)(hash_of(left, right) >> b->shift);; i = (i + 1) & mask) {
        bpe_rule *rule = &b->rules[i];
        if (rule->left < 0 || (rule->left == left && rule->right == right)) return rule;
    }
}

static bool allocate_rules(bpe *b, int shift)
{
    b->shift = shift;
    b->rules = malloc(rule_places(b) * sizeof *b->rules);
    if (!b->rules) return false;
    for (size_t i = 0; i < rule_places(b); i++)
        b->rules[i] = (bpe_rule){.left = -1, .right = -1, .priority = BPE_NO_RULE, .merged = -1};
    return true;
}

static bool make_room(bpe *b)
{
    if (!b->rules) return allocate_rules(b, 64 - FIRST_RULE_BITS);
    if ((b->n_rules + 1) * 2 <= rule_places(b)) return true;
    bpe grown = *b;
    if (!allocate_rules(&grown, b->shift - 1)) return false;
    for (size_t i = 0; i < rule_places(b); i++)
        if (b->rules[i].left >= 0) *place_of(&grown, b->rules[i].left, b->rules[i].right) = b->rules[i];
    free(b->rules);
    *b = grown;
    return true;
}

/* One word of 64 bits for sixteen places of the table, that is 8 to 16 bits a rule. A rule sets one of them, chosen by
 * bits of its hash that its place does not depend on. */
static uint64_t *filter_word(const bpe *b, uint64_t hash) { return &b->filter[hash >> b->shift >> 4]; }

static uint64_t filter_bit(uint64_t hash) { return UINT64_C(1) << (hash >> 20 & 63); }

/* Most pairs that are looked up have no rule, and the table does not fit a core's cache: the filter, a thirtieth of it,
 * does. */
static const bpe_rule *rule_of(const bpe *b, int32_t left, int32_t right)
{
    static const bpe_rule none = {.left = -1, .right = -1, .priority = BPE_NO_RULE, .merged = -1};
    uint64_t hash = hash_of(left, right);
    return *filter_word(b, hash) & filter_bit(hash) ? place_of(b, left, right) : &none;
}

void bpe_free(bpe *b)
{
    free(b->rules);
    free(b->filter);
    free(b->byte_rules);
    *b = (bpe){0};
}

bool bpe_add(bpe *b, bpe_rule rule)
{
    if (!make_room(b)) return false;
    bpe_rule *place = place_of(b, rule.left, rule.right);
    if (place->left < 0) b->n_rules++;
    *place = rule;
    return true;
}

bool bpe_seal(bpe *b)
{
    if (!make_room(b)) return false;
    b->filter = calloc(rule_places(b) >> 4, sizeof *b->filter);
    b->byte_rules = malloc(256 * 256 * sizeof *b->byte_rules);
    if (!b->filter || !b->byte_rules) return false;
    for (size_t i = 0; i < rule_places(b); i++) {
        if (b->rules[i].left < 0) continue;
        uint64_t hash = hash_of(b->rules[i].left, b->rules[i].right);
        *filter_word(b, hash) |= filter_bit(hash);
    }
    for (int left = 0; left < 256; left++)
        for (int right = 0; right < 256; right++)
            b->byte_rules[left << 8 | right] = *place_of(b, b->byte_ids[left], b->byte_ids[right]);
    return true;
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

static const bpe_rule *rule_of_bytes(const bpe *b, const char *at)
{
    return &b->byte_rules[(unsigned char)at[0] << 8 | (unsigned char)at[1]];
}

/* Up to this size looking for the lowest priority along the whole piece is faster than keeping a heap. */
enum { SHORT_PIECE = 128 };

/* A part of a short piece: parts lie side by side. One struct and one scan in scalars on purpose: vector loads over
 * parts that were just stored one by one wait for those stores. */
typedef struct short_part {
    int32_t id;
    uint32_t priority; /* of merging with the next part */
    int32_t merged;    /* what that gives */
} short_part;

static void set_short(short_part *p, const bpe_rule *rule)
{
    p->priority = rule->priority;
    p->merged = rule->merged;
}

static bool encode_short(const bpe *b, const char *bytes, size_t size, id_list *out)
{
    short_part parts[SHORT_PIECE];
    int32_t ids[SHORT_PIECE];
    for (size_t i = 0; i < size; i++) parts[i].id = b->byte_ids[(unsigned char)bytes[i]];
    for (size_t i = 0; i + 1 < size; i++) set_short(&parts[i], rule_of_bytes(b, bytes + i));
    while (size > 1) {
        /* Priority and place in one number: the smallest is the leftmost of the lowest. */
        uint64_t lowest = UINT64_MAX;
        for (size_t i = 0; i + 1 < size; i++) {
            uint64_t candidate = (uint64_t)parts[i].priority << 32 | i;
            lowest = candidate < lowest ? candidate : lowest;
        }
        if (lowest >> 32 == BPE_NO_RULE) break;
        size_t at = (uint32_t)lowest;
        parts[at].id = parts[at].merged;
        size--;
        memmove(parts + at + 1, parts + at + 2, (size - at - 1) * sizeof *parts);
        if (at + 1 < size) set_short(&parts[at], rule_of(b, parts[at].id, parts[at + 1].id));
        if (at > 0) set_short(&parts[at - 1], rule_of(b, parts[at - 1].id, parts[at].id));
    }
    for (size_t i = 0; i < size; i++) ids[i] = parts[i].id;
    return id_list_append(out, ids, size);
}

/* A part of a long piece; parts form a list by index, NO_PART at both ends. */
typedef struct part {
    uint32_t previous, next;
    int32_t id;
    uint32_t priority; /* of merging with `next` */
    int32_t merged;
} part;

#define NO_PART UINT32_MAX

/* A binary heap of priority << 32 | index of the part: equal priorities come leftmost first. An entry whose priority is
 * no longer its part's is stale and skipped, instead of being searched for when it goes stale. */
typedef struct merge_heap {
    uint64_t *entries;
    size_t count;
} merge_heap;

static void sift_down(merge_heap *h, size_t at)
{
    uint64_t entry = h->entries[at];
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && h->entries[child + 1] < h->entries[child]) child++;
        if (h->entries[child] >= entry) break;
        h->entries[at] = h->entries[child];
        at = child;
    }
    h->entries[at] = entry;
}

static void heap_push(merge_heap *h, uint64_t entry)
{
    size_t at = h->count++;
    while (at > 0 && h->entries[(at - 1) / 2] > entry) {
        h->entries[at] = h->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->entries[at] = entry;
}

static uint64_t heap_pop(merge_heap *h)
{
    uint64_t first = h->entries[0];
    h->entries[0] = h->entries[--h->count];
    if (h->count > 0) sift_down(h, 0);
    return first;
}

static void set_rule(part *p, const bpe_rule *rule)
{
    p->priority = rule ? rule->priority : BPE_NO_RULE;
    p->merged = rule ? rule->merged : -1;
}

static void first_parts(const bpe *b, const char *bytes, uint32_t size, part *parts, merge_heap *heap)
{
    for (uint32_t i = 0; i < size; i++) {
        parts[i] = (part){.previous = i ? i - 1 : NO_PART,
                          .next = i + 1 < size ? i + 1 : NO_PART,
                          .id = b->byte_ids[(unsigned char)bytes[i]]};
        set_rule(&parts[i], i + 1 < size ? rule_of_bytes(b, bytes + i) : NULL);
        if (parts[i].priority != BPE_NO_RULE) heap->entries[heap->count++] = (uint64_t)parts[i].priority << 32 | i;
    }
    for (size_t i = heap->count / 2; i-- > 0;) sift_down(heap, i);
}

/* Looks up the rule of part i with the one that now follows it. */
static void renew(const bpe *b, part *parts, uint32_t i, merge_heap *heap)
{
    part *p = &parts[i];
    set_rule(p, p->next == NO_PART ? NULL : rule_of(b, p->id, parts[p->next].id));
    if (p->priority != BPE_NO_RULE) heap_push(heap, (uint64_t)p->priority << 32 | i);
}

static void merge_all(const bpe *b, part *parts, merge_heap *heap)
{
    while (heap->count > 0) {
        uint64_t entry = heap_pop(heap);
        part *p = &parts[(uint32_t)entry];
        if (p->priority != entry >> 32) continue;
        part *gone = &parts[p->next];
        p->id = p->merged;
        p->next = gone->next;
        set_rule(gone, NULL);
        if (p->next != NO_PART) parts[p->next].previous = (uint32_t)entry;
        renew(b, parts, (uint32_t)entry, heap);
        if (p->previous != NO_PART) renew(b, parts, p->previous, heap);
    }
}

static bool encode_long(const bpe *b, const char *bytes, size_t size, id_list *out)
{
    if (size > (size_t)1 << 30) return false;
    /* At most size - 1 entries at first; each merge takes at least one and pushes at most two, and there are at most
     * size - 1. */
    merge_heap heap = {.entries = malloc(2 * size * sizeof *heap.entries)};
    part *parts = malloc(size * sizeof *parts);
    size_t before = out->count;
    bool done = heap.entries && parts;
    if (done) {
        first_parts(b, bytes, (uint32_t)size, parts, &heap);
        merge_all(b, parts, &heap);
        for (uint32_t i = 0; done && i != NO_PART; i = parts[i].next) done = id_list_push(out, parts[i].id);
        if (!done) out->count = before;
    }
    free(parts);
    free(heap.entries);
    return done;
}

bool bpe_encode(const bpe *b, const char *bytes, size_t size, id_list *out)
{
    return size <= SHORT_PIECE ? encode_short(b, bytes, size, out) : encode_long(b, bytes, size, out);
}
