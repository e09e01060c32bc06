/* JSON -> texts of a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/prompt.h"

/* Types of both APIs that mean visible text. */
const prompt_part prompt_message_parts[] = {
    {"text", "text"}, {"input_text", "text"}, {"output_text", "text"}, {"refusal", "refusal"}, {NULL, NULL},
};

static bool part_text(const json_fields *part, const prompt_part *types, const char **text, size_t *size)
{
    const char *type = NULL;
    if (!json_is_object(part->object)) return json_fields_fail(part, "", "an object is expected.");
    if (!json_fields_string(part, "type", &type, NULL)) return false;
    if (!type) return json_fields_fail(part, "type", "is required.");
    while (types->type && strcmp(types->type, type)) types++;
    if (!types->type) return json_fields_fail(part, "type", "\"%.40s\" is not supported; this model takes text only.", type);
    *text = NULL;
    if (!json_fields_string(part, types->key, text, size)) return false;
    return *text ? true : json_fields_fail(part, types->key, "is required.");
}

static bool keep(prompt_builder *b, const char *text, size_t size, const char **kept)
{
    char *copy = prompt_take(b, size + 1);
    if (!copy) return prompt_no_memory(b->error);
    if (size) memcpy(copy, text, size);
    *kept = copy;
    return true;
}

static bool join_parts(prompt_builder *b, const json_fields *object, const char *key, const json_t *list, const prompt_part *types,
                       const char **text, size_t *size)
{
    buffer whole = {0};
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        char path[128];
        snprintf(path, sizeof path, "%.80s.%.16s[%zu]", object->path, key, i);
        json_fields part = {json_array_get(list, i), path, object->error};
        const char *piece;
        size_t piece_size = 0;
        good = part_text(&part, types, &piece, &piece_size);
        if (good && !buffer_append(&whole, piece, piece_size)) good = prompt_no_memory(b->error);
    }
    if (good && (good = keep(b, whole.data, whole.size, text))) *size = whole.size;
    buffer_free(&whole);
    return good;
}

bool prompt_text(prompt_builder *b, const json_fields *object, const char *key, const prompt_part *parts, const char **text, size_t *size)
{
    const json_t *value = json_fields_get(object, key);
    *text = NULL;
    *size = 0;
    if (json_is_array(value)) return join_parts(b, object, key, value, parts, text, size);
    return json_fields_string(object, key, text, size);
}

bool prompt_text_required(prompt_builder *b, const json_fields *object, const char *key, const char **text, size_t *size)
{
    if (!prompt_text(b, object, key, prompt_message_parts, text, size)) return false;
    return *text ? true : json_fields_fail(object, key, "is required.");
}

bool prompt_arguments(prompt_builder *b, const json_fields *object, const char **text, size_t *size)
{
    const json_t *value = json_fields_get(object, "arguments");
    *text = "";
    *size = 0;
    if (!json_is_object(value)) return json_fields_string(object, "arguments", text, size);
    char *dump = json_dumps(value, JSON_COMPACT);
    bool good = dump ? keep(b, dump, strlen(dump), text) : prompt_no_memory(b->error);
    if (good) *size = strlen(dump);
    free(dump);
    return good;
}
