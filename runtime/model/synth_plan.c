#include "runtime/model/synth_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

status synth_plan_make(const model_config *config, int64_t shard_bytes, synth_plan *out, status_detail *detail)
{
    size_t room = (size_t)(config->layers + 1) * CHECKPOINT_ROLES;
    checkpoint_cursor cursor = {0};
    synth_plan plan = {.tensors = calloc(room, sizeof *plan.tensors)};
    int64_t filled = 0;
    if (!plan.tensors) return status_fail(detail, STATUS_MACHINE, "out of memory for the list of tensors");

    for (synth_tensor *t = plan.tensors; checkpoint_names_next(config, &cursor, &t->spec); t++) {
        if (filled > 0 && filled + t->spec.bytes > shard_bytes) {
            plan.n_shards++;
            filled = 0;
        }
        t->role = cursor.role;
        t->shard = plan.n_shards;
        t->offset = filled;
        filled += t->spec.bytes;
        plan.bytes += t->spec.bytes;
        plan.n_tensors++;
    }
    plan.n_shards++;
    *out = plan;
    return STATUS_OK;
}

void synth_plan_free(synth_plan *plan)
{
    free(plan->tensors);
    *plan = (synth_plan){0};
}

void synth_plan_shard_name(const synth_plan *plan, int shard, char out[SYNTH_NAME_SIZE])
{
    snprintf(out, SYNTH_NAME_SIZE, "model-%05d-of-%05d.safetensors", shard + 1, plan->n_shards);
}

static bool append_entry(const synth_tensor *t, buffer *out)
{
    bool good = buffer_printf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->spec.name,
                              t->spec.type == DTYPE_BF16 ? "BF16" : "U8");
    for (int i = 0; good && i < t->spec.n_dims; i++)
        good = buffer_printf(out, i ? ",%" PRId64 : "%" PRId64, t->spec.shape[i]);
    return good &&
           buffer_printf(out, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", t->offset, t->offset + t->spec.bytes);
}

bool synth_plan_header(const synth_plan *plan, int shard, buffer *out)
{
    buffer json = {0};
    uint8_t length[8];
    bool good = buffer_append_text(
        &json, "{\"__metadata__\":{\"format\":\"pt\"}"); /* transformers refuses files without a format */
    for (size_t i = 0; good && i < plan->n_tensors; i++)
        if (plan->tensors[i].shard == shard) good = append_entry(&plan->tensors[i], &json);
    good = good && buffer_append_text(&json, "}");
    while (good && json.size % 8 != 0)
        good = buffer_append_text(&json, " "); /* the format's own padding: data stays aligned */
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)json.size >> (8 * i));
    good = good && buffer_append(out, length, sizeof length) && buffer_append(out, json.data, json.size);
    buffer_free(&json);
    return good;
}

bool synth_plan_index(const synth_plan *plan, buffer *out)
{
    bool good = buffer_printf(out, "{\n  \"metadata\": {\n    \"total_size\": %" PRId64 "\n  },\n  \"weight_map\": {\n",
                              plan->bytes);
    for (size_t i = 0; good && i < plan->n_tensors; i++) {
        char shard[SYNTH_NAME_SIZE];
        synth_plan_shard_name(plan, plan->tensors[i].shard, shard);
        good = buffer_printf(out, "    \"%s\": \"%s\"%s\n", plan->tensors[i].spec.name, shard,
                             i + 1 < plan->n_tensors ? "," : "");
    }
    return good && buffer_append_text(out, "  }\n}\n");
}
