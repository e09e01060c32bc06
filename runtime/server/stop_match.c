#include "runtime/server/stop_match.h"

#include <stdlib.h>
#include <string.h>

bool stop_set_add(stop_set *set, const char *text, size_t size)
{
    if (set->n == STOP_MATCH_MAX_STRINGS) return false;
    uint16_t *failure = calloc(size, sizeof *failure);
    buffer copy = {0};
    if (!failure || !buffer_append(&copy, text, size)) {
        free(failure);
        buffer_free(&copy);
        return false;
    }
    for (size_t i = 1, border = 0; i < size; i++) {
        while (border && text[i] != text[border]) border = failure[border - 1];
        if (text[i] == text[border]) border++;
        failure[i] = (uint16_t)border;
    }
    set->strings[set->n] = copy;
    set->failure[set->n++] = failure;
    return true;
}

void stop_set_free(stop_set *set)
{
    for (int i = 0; i < set->n; i++) {
        buffer_free(&set->strings[i]);
        free(set->failure[i]);
    }
    set->n = 0;
}

void stop_match_free(stop_match *m) { buffer_free(&m->held); }

void stop_match_reset(stop_match *m)
{
    memset(m->matched, 0, sizeof m->matched);
    buffer_clear(&m->held);
}

/* Feeds one byte to all automata. Returns the longest string it completes, or -1. */
static int step(stop_match *m, const stop_set *set, char byte)
{
    int found = -1;
    for (int i = 0; i < set->n; i++) {
        const buffer *string = &set->strings[i];
        size_t k = m->matched[i];
        while (k && string->data[k] != byte) k = set->failure[i][k - 1];
        if (string->data[k] == byte) k++;
        m->matched[i] = (uint16_t)k;
        if (k == string->size && (found < 0 || k > set->strings[found].size)) found = i;
    }
    return found;
}

static size_t longest_prefix(const stop_match *m, const stop_set *set)
{
    size_t longest = 0;
    for (int i = 0; i < set->n; i++)
        if (m->matched[i] > longest) longest = m->matched[i];
    return longest;
}

/* Gives out the first `size` held bytes. */
static bool give(stop_match *m, size_t size, buffer *out)
{
    if (!size) return true;
    if (!buffer_append(out, m->held.data, size)) return false;
    m->held.size -= size;
    memmove(m->held.data, m->held.data + size, m->held.size);
    return true;
}

bool stop_match_push(stop_match *m, const stop_set *set, const char *text, size_t size, bool include, buffer *out, int *found)
{
    *found = -1;
    if (!set->n) return buffer_append(out, text, size);
    size_t taken = 0;
    int hit = -1;
    while (taken < size && hit < 0) hit = step(m, set, text[taken++]);
    if (!buffer_append(&m->held, text, taken)) return false;
    if (hit < 0) return give(m, m->held.size - longest_prefix(m, set), out);
    if (!give(m, include ? m->held.size : m->held.size - set->strings[hit].size, out)) return false;
    *found = hit;
    return true;
}

bool stop_match_flush(stop_match *m, buffer *out)
{
    bool given = give(m, m->held.size, out);
    stop_match_reset(m);
    return given;
}
