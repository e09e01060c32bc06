/* Regions: where which tokens may come is known from classes, not from walking. */
#include <stdlib.h>

#include "runtime/grammar/program_build.h"

/* What the classes of one grammar may take together; a pattern's are a hundred kilobytes to a megabyte. */
enum { MAX_REGION_BYTES = 16 << 20, MAX_REGIONS = 64 };

/* Nothing but the end of a string or of the whole text may follow: then a token that goes on behind the region goes on
 * behind a quote. */
static bool ends_plainly(const program *g, expr_encoding encoding, uint32_t next)
{
    const program_node *node = &g->nodes[next];
    if (encoding == EXPR_UTF8) return next == PROGRAM_RETURN;
    return encoding == EXPR_JSON && node->kind == PROGRAM_KIND_RANGE && node->low == '"' && node->high == '"';
}

token_classes *program_region_classify(program_build *b, const dfa *d, expr_encoding encoding, uint32_t next)
{
    if (program_build_broken(b) || !d->classify || !ends_plainly(b->g, encoding, next)) return NULL;
    if (b->g->n_regions == MAX_REGIONS || b->region_bytes >= MAX_REGION_BYTES) return NULL;
    bool no_memory = false;
    token_classes *classes = token_classes_build(d, &b->vocab->texts[encoding], b->vocab->words, &no_memory);
    if (no_memory) expr_pool_no_memory(b->p);
    if (classes) b->region_bytes += token_classes_bytes(classes);
    return classes;
}

void program_region_add(program_build *b, const dfa *d, token_classes *classes, expr_encoding encoding, uint32_t next,
                        uint32_t first, const uint32_t *entries)
{
    program *g = b->g;
    program_region region = {
        .first = first, .last = (uint32_t)g->n_nodes, .next = next, .encoding = encoding, .classes = classes};
    if (program_build_broken(b)) goto failed;
    region.states = malloc((region.last - first) * sizeof *region.states);
    if (!region.states || !expr_grow(&g->regions, g->n_regions, &g->regions_capacity, sizeof *g->regions)) {
        expr_pool_no_memory(b->p);
        goto failed;
    }
    for (uint32_t i = 0; i < region.last - first; i++) region.states[i] = UINT32_MAX;
    for (uint32_t s = 0; s < d->n_states; s++)
        if (entries[s] != UINT32_MAX) region.states[entries[s] - first] = s;
    g->regions[g->n_regions++] = region;
    return;

failed:
    program_region_free(&region);
}

void program_region_free(program_region *r)
{
    free(r->states);
    token_classes_free(r->classes);
}

const program_region *program_region_of(const program *g, uint32_t node, uint32_t *state)
{
    for (size_t i = 0; i < g->n_regions; i++) {
        const program_region *r = &g->regions[i];
        if (node < r->first || node >= r->last) continue;
        *state = r->states[node - r->first];
        return *state == UINT32_MAX ? NULL : r;
    }
    return NULL;
}
