#include "runtime/grammar/mask_region.h"

#include <string.h>

#include "runtime/grammar/mask_memo.h"
#include "runtime/grammar/mask_walk.h"

/* The tokens that stay inside of the region; NULL: no memory. */
static const uint32_t *find_inside(machine *m, const program_region *r, uint32_t state)
{
    uint64_t key = token_classes_key(r->classes, state) | (uint64_t)(r - m->g.regions) << 16;
    const uint32_t *known = mask_memo_find(m->memo, key);
    if (known) return known;
    uint32_t *bits = mask_memo_add(m->memo, key);
    if (bits) token_classes_set_inside(r->classes, state, bits);
    return bits;
}

/* The tails that may follow the region on frame `stack`; *out NULL: none. False: no memory. */
static bool find_tails(machine *m, const grammar_vocab *v, const program_region *r, uint32_t stack,
                       const uint32_t **out)
{
    const vocab_text *t = &v->texts[r->encoding];
    bool known;
    *out = NULL;
    if (t->n_tails == 0) return true;
    uint32_t end = machine_enter(m, r->next, stack);
    if (end == MACHINE_DEAD || end == MACHINE_NO_MEMORY) return end == MACHINE_DEAD;
    uint32_t *tails = mask_memo_tails(m->memo, end, &known);
    *out = tails;
    if (known) return true;
    mask_walk w;
    if (!mask_walk_begin(&w, m, v->words)) return false;
    w.bits = tails;
    w.words = (uint32_t)(t->n_tails + 31) / 32;
    w.path[0] = end;
    if (!mask_walk_all(&w, &t->tails)) return false;
    mask_memo_keep_tails(m->memo, end);
    return true;
}

bool mask_region_write(machine *m, const grammar_vocab *v, const mask_part *part, bool add, uint32_t *bits)
{
    const program_region *r = part->region;
    if (!m->memo) m->memo = mask_memo_open(v->words, (v->texts[EXPR_JSON].n_tails + 31) / 32);
    if (!m->memo) return false;
    const uint32_t *inside = find_inside(m, r, part->state), *tails;
    if (!inside) return false;
    if (add) {
        for (size_t w = 0; w < v->words; w++) bits[w] |= inside[w];
    } else {
        memcpy(bits, inside, v->words * sizeof *bits);
    }
    if (!find_tails(m, v, r, part->stack, &tails)) return false;
    if (tails) token_classes_set_closing(r->classes, part->state, tails, bits);
    return true;
}
