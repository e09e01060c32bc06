/* Any bytes as a safetensors file: parsed or refused, and every view lies inside the bytes. */
#define _GNU_SOURCE /* memrchr */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Most random lengths are refused at once: the first byte chooses between the input as it is and one whose length says
 * that the header ends at the last brace. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    safetensors s;
    status_detail detail = {""};
    if (size < 2) return 0;
    uint8_t *file = malloc(size + 8);
    if (!file) return 0;
    size_t n = size - 1;
    if (data[0] & 1) {
        memcpy(file, data + 1, n);
    } else {
        const uint8_t *brace = memrchr(data + 1, '}', n);
        size_t header = brace ? (size_t)(brace - data) : n;
        for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)header >> (8 * i));
        memcpy(file + 8, data + 1, n);
        n += 8;
    }
    if (safetensors_parse(file, n, "fuzz", &s, &detail) == STATUS_OK) {
        for (size_t i = 0; i < s.count; i++) {
            const safetensors_entry *e = &s.entries[i];
            if (e->data < file + 8 || e->size > (size_t)(file + n - e->data)) abort();
            if (safetensors_find(&s, e->name) != e) abort();
        }
        safetensors_free(&s);
    } else if (!detail.text[0]) {
        abort(); /* every refusal has a reason */
    }
    free(file);
    return 0;
}
