#include "runtime/server/memory_metrics.h"

#include <inttypes.h>

static const struct {
    const char *name, *help;
    size_t offset; /* in engine_memory, of an int64_t */
} rows[] = {
    {"used", "Memory in use on a rank's device, by whatever program; of a rank on the CPU, what its process has in memory.", offsetof(engine_memory, used)},
    {"total", "Memory of a rank's device; of a rank on the CPU, of its host.", offsetof(engine_memory, total)},
    {"weights", "What a rank takes for its part of the weights.", offsetof(engine_memory, weights)},
    {"kv_cache", "What a rank takes for its part of the KV cache, in use or not.", offsetof(engine_memory, kv_cache)},
};

void memory_metrics_write(const engine *e, const char *labels, json_writer *out)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *name = rows[i].name;
        json_write_format(out, "# HELP vllm:device_memory_%s_bytes %s\n# TYPE vllm:device_memory_%s_bytes gauge\n", name, rows[i].help, name);
        for (int rank = 0; rank < engine_ranks(e); rank++) {
            engine_memory memory;
            if (!engine_get_memory(e, rank, &memory)) continue;
            int64_t value = *(const int64_t *)((const char *)&memory + rows[i].offset);
            json_write_format(out, "vllm:device_memory_%s_bytes{", name);
            json_write_raw(out, labels);
            json_write_format(out, ",rank=\"%d\",device=\"%s\"} %" PRId64 "\n", rank, memory.device, value);
        }
    }
}
