#include "runtime/grammar/program_build.h"

enum { MAX_MARKERS = 0xFFFE, FAR = 64 };

static bool excludes(const program *g, uint32_t at, slice_class class, int *left)
{
    const program_node *node = &g->nodes[at];
    if (--*left < 0) return false;
    if (node->kind == PROGRAM_KIND_SPLIT) {
        const program_list *split = &g->splits[node->a];
        if (split->n == 0) return false; /* a loop that is not closed yet */
        for (uint32_t i = 0; i < split->n; i++)
            if (!excludes(g, g->targets[split->start + i], class, left)) return false;
        return true;
    }
    if (node->kind != PROGRAM_KIND_RANGE && node->kind != PROGRAM_KIND_SWITCH) return false;
    for (unsigned byte = 0; byte < 256; byte++)
        if (program_takes(g, node, byte) && slice_byte_begins(class, byte)) return false;
    return true;
}

bool program_mark_excludes(const program *g, uint32_t node, slice_class class)
{
    int left = FAR;
    return excludes(g, node, class, &left);
}

void program_mark(program_build *b, uint32_t at, uint32_t first, const program_runs *runs)
{
    program *g = b->g;
    uint32_t best_count = 0, best = 0;
    for (uint32_t class = 0; class < SLICE_CLASSES; class ++) {
        uint8_t least = runs->least[class];
        if (least == 0) continue;
        uint32_t count = b->vocab->slices[class].counts[(least == PROGRAM_LIMIT_FRAME ? SLICE_CHARS : least) - 1];
        if (count <= best_count) continue;
        best_count = count;
        best = class;
    }
    if (best_count == 0 || g->n_markers == MAX_MARKERS || program_build_broken(b)) return;
    if (!expr_grow(&g->markers, g->n_markers, &g->markers_capacity, sizeof *g->markers)) {
        expr_pool_no_memory(b->p);
        return;
    }
    g->markers[g->n_markers++] = (program_marker){.class = (uint8_t)best,
                                                  .least = runs->least[best],
                                                  .most = runs->most[best],
                                                  .first = first,
                                                  .last = (uint32_t)g->n_nodes};
    g->nodes[at].marker = (uint16_t)g->n_markers;
}
