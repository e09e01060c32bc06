#include "tests/text/harmony_conversation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void *own(harmony_conversation *c, size_t count, size_t size)
{
    c->owned = realloc(c->owned, (c->n_owned + 1) * sizeof *c->owned);
    assert_non_null(c->owned);
    void *block = calloc(count + 1, size);
    assert_non_null(block);
    return c->owned[c->n_owned++] = block;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Where the key is given, null included, it replaces a default. */
static void replace(const json_t *object, const char *key, const char **field)
{
    if (json_object_get(object, key)) *field = text(object, key);
}

static size_t index_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return i;
    fail_msg("unknown name %s", name);
    return 0;
}

static const harmony_namespace *read_namespaces(harmony_conversation *c, const json_t *spaces, size_t *count)
{
    *count = json_object_size(spaces);
    harmony_namespace *out = own(c, *count, sizeof *out), *next = out;
    json_t *object = (json_t *)(uintptr_t)spaces;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at), next++) {
        const json_t *space = json_object_iter_value(at), *list = json_object_get(space, "tools");
        harmony_tool *tools = own(c, json_array_size(list), sizeof *tools);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *tool = json_array_get(list, i);
            tools[i] =
                (harmony_tool){text(tool, "name"), text(tool, "description"), json_object_get(tool, "parameters")};
        }
        *next = (harmony_namespace){text(space, "name"), text(space, "description"), tools, json_array_size(list)};
    }
    return out;
}

static const harmony_system *read_system(harmony_conversation *c, const json_t *fields)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    harmony_system *out = own(c, 1, sizeof *out);
    *out = harmony_system_default();
    replace(fields, "model_identity", &out->identity);
    replace(fields, "knowledge_cutoff", &out->knowledge_cutoff);
    replace(fields, "conversation_start_date", &out->current_date);
    const json_t *effort = json_object_get(fields, "reasoning_effort"),
                 *channels = json_object_get(fields, "valid_channels");
    if (effort) out->has_effort = json_is_string(effort);
    if (json_is_string(effort)) out->effort = (harmony_effort)index_of(json_string_value(effort), efforts, 3);
    if (channels) {
        out->n_channels = json_array_size(channels);
        const char **names = own(c, out->n_channels, sizeof *names);
        for (size_t i = 0; i < out->n_channels; i++) names[i] = json_string_value(json_array_get(channels, i));
        out->channels = names;
    }
    out->namespaces = read_namespaces(c, json_object_get(fields, "tools"), &out->n_namespaces);
    return out;
}

static const harmony_developer *read_developer(harmony_conversation *c, const json_t *fields)
{
    harmony_developer *out = own(c, 1, sizeof *out);
    out->instructions = text(fields, "instructions");
    out->namespaces = read_namespaces(c, json_object_get(fields, "tools"), &out->n_namespaces);
    return out;
}

void harmony_conversation_read(const json_t *messages, harmony_conversation *out)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    *out = (harmony_conversation){.count = json_array_size(messages)};
    out->messages = own(out, out->count, sizeof *out->messages);
    for (size_t i = 0; i < out->count; i++) {
        const json_t *from = json_array_get(messages, i), *content = json_object_get(from, "content");
        const json_t *part = json_array_get(content, 0), *system = json_object_get(part, "system"),
                     *developer = json_object_get(part, "developer");
        out->messages[i] = (harmony_message){
            .role = (harmony_role)index_of(text(from, "role"), roles, 5),
            .name = text(from, "name"),
            .recipient = text(from, "recipient"),
            .channel = text(from, "channel"),
            .content_type = text(from, "content_type"),
            .text = json_string_value(content),
            .text_size = json_string_length(content),
            .system = system ? read_system(out, system) : NULL,
            .developer = developer ? read_developer(out, developer) : NULL,
        };
    }
}

void harmony_conversation_free(harmony_conversation *c)
{
    for (size_t i = 0; i < c->n_owned; i++) free(c->owned[i]);
    free(c->owned);
    *c = (harmony_conversation){0};
}
