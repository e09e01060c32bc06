#include "runtime/engine/sequence_heap.h"

static void put(sequence **heap, int at, sequence *s)
{
    heap[at] = s;
    s->queue_index = at;
}

/* Moves `s` from the hole `at` towards the top. Returns where the hole ends up. */
static int rise(sequence **heap, int at, const sequence *s)
{
    while (at > 0 && sequence_before(s, heap[(at - 1) / 2])) {
        put(heap, at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    return at;
}

static int sink(sequence **heap, int count, int at, const sequence *s)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= count) return at;
        if (child + 1 < count && sequence_before(heap[child + 1], heap[child])) child++;
        if (!sequence_before(heap[child], s)) return at;
        put(heap, at, heap[child]);
        at = child;
    }
}

void sequence_heap_push(sequence **heap, int *count, sequence *s)
{
    int at = rise(heap, (*count)++, s);
    put(heap, at, s);
}

void sequence_heap_remove(sequence **heap, int *count, sequence *s)
{
    int at = s->queue_index;
    sequence *last = heap[--*count];
    s->queue_index = -1;
    if (last == s) return;
    at = sink(heap, *count, rise(heap, at, last), last);
    put(heap, at, last);
}
