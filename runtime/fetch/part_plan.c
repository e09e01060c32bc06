#include "runtime/fetch/part_plan.h"

#include <string.h>

static const uint8_t magic[8] = {'g', 'p', 't', 'o', 's', 's', 'P', '1'};

static int64_t parts_of(int64_t size, int64_t part_bytes) { return size / part_bytes + (size % part_bytes != 0); }

part_plan part_plan_make(int64_t size, int64_t part_bytes)
{
    if (part_bytes < 1) part_bytes = 1;
    if (parts_of(size, part_bytes) > PART_PLAN_MOST) part_bytes = parts_of(size, PART_PLAN_MOST);
    return (part_plan){size, part_bytes, (uint32_t)parts_of(size, part_bytes)};
}

int64_t part_plan_start(const part_plan *plan, uint32_t part) { return (int64_t)part * plan->part_bytes; }

int64_t part_plan_length(const part_plan *plan, uint32_t part)
{
    int64_t rest = plan->size - part_plan_start(plan, part);
    return rest < plan->part_bytes ? rest : plan->part_bytes;
}

static void put(uint64_t value, uint8_t *out)
{
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *data)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= (uint64_t)data[i] << (8 * i);
    return value;
}

size_t part_record_size(const part_plan *plan) { return PART_RECORD_HEADER + (size_t)plan->count * PART_RECORD_ENTRY; }

void part_record_header(const part_plan *plan, uint8_t out[PART_RECORD_HEADER])
{
    memcpy(out, magic, 8);
    put((uint64_t)plan->size, out + 8);
    put((uint64_t)plan->part_bytes, out + 16);
    put(plan->count, out + 24);
}

void part_record_entry(int64_t done, uint8_t out[PART_RECORD_ENTRY]) { put((uint64_t)done, out); }

int64_t part_record_done(const uint8_t *data, uint32_t part)
{
    return (int64_t)get(data + PART_RECORD_HEADER + (size_t)part * PART_RECORD_ENTRY);
}

bool part_record_parse(const uint8_t *data, size_t bytes, int64_t size, part_plan *plan)
{
    if (bytes < PART_RECORD_HEADER || memcmp(data, magic, 8) != 0 || get(data + 8) != (uint64_t)size) return false;
    uint64_t part_bytes = get(data + 16), count = get(data + 24);
    if (part_bytes < 1 || part_bytes > INT64_MAX || count > PART_PLAN_MOST || count != (uint64_t)parts_of(size, (int64_t)part_bytes))
        return false;
    part_plan found = {size, (int64_t)part_bytes, (uint32_t)count};
    if (bytes != part_record_size(&found)) return false;
    for (uint32_t i = 0; i < found.count; i++) {
        int64_t done = part_record_done(data, i);
        if (done < 0 || done > part_plan_length(&found, i)) return false;
    }
    *plan = found;
    return true;
}
