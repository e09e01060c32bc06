#include "runtime/server/responses_items.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/generation.h"
#include "runtime/server/prompt.h"

void responses_items_id(const char *prefix, char out[RESPONSES_ITEMS_ID])
{
    enum { DIGITS = 48 };
    size_t size = strlen(prefix);
    memcpy(out, prefix, size);
    generation_random_hex(out + size, DIGITS);
}

bool responses_items_is(const json_t *item, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(item, key));
    return value && !strcmp(value, text);
}

bool responses_items_append(const responses_request *request, json_t *list, api_error *error)
{
    json_t *input = (json_t *)request->input;
    if (!input) return true;
    bool failed = json_is_array(input) ? json_array_extend(list, input)
                                       : json_array_append_new(list, json_pack("{s:s s:s s:O}", "type", "message", "role", "user", "content", input));
    return failed ? prompt_no_memory(error) : true;
}

bool responses_items_resolve(json_t *list, size_t first, responses_items_finder find, void *user, api_error *error)
{
    for (size_t i = first; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *id = NULL;
        char path[48];
        if (!responses_items_is(item, "type", "item_reference")) continue;
        snprintf(path, sizeof path, "input[%zu]", i - first);
        json_fields f = {item, path, error};
        if (!json_fields_string(&f, "id", &id, NULL)) return false;
        if (!id) return json_fields_fail(&f, "id", "is required.");
        json_t *found = find(user, id);
        if (!found) return api_error_set(error, 404, path, "Item with id '%.100s' not found: it was never stored, or has made room for newer ones.", id);
        if (json_array_set_new(list, i, found)) return prompt_no_memory(error);
    }
    return true;
}

/* ---- the form in which they are kept ----------------------------------------------------------------------------- */

static void write_value(const json_t *value, json_writer *out)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (text) json_write_raw(out, text);
    else out->failed = true;
    free(text);
}

/* The string as the one part of a list; a list as it is. */
static void write_content(const json_t *content, const char *type, json_writer *out)
{
    if (!json_is_string(content)) {
        write_value(content, out);
        return;
    }
    json_write_format(out, "[{\"type\":\"%s\",", type);
    if (!strcmp(type, "output_text")) json_write_raw(out, "\"annotations\":[],\"logprobs\":[],");
    json_write_raw(out, "\"text\":");
    json_write_string(out, json_string_value(content), json_string_length(content));
    json_write_raw(out, "}]");
}

static void write_item(const json_t *item, json_writer *out)
{
    bool message = !json_is_string(json_object_get(item, "type")) || responses_items_is(item, "type", "message"), has_status = false;
    const char *prefix = message ? "msg_" : responses_items_is(item, "type", "reasoning") ? "rs_" : "fc_", *given, *key;
    char id[RESPONSES_ITEMS_ID];
    json_t *value;
    responses_items_id(prefix, id);
    given = json_string_value(json_object_get(item, "id"));
    json_write_raw(out, "{\"id\":");
    json_write_text(out, given ? given : id);
    if (message) json_write_raw(out, ",\"type\":\"message\"");
    json_object_foreach((json_t *)item, key, value) {
        if (!strcmp(key, "id") || (message && !strcmp(key, "type")) || json_is_null(value)) continue;
        has_status |= !strcmp(key, "status");
        json_write_raw(out, ",");
        json_write_text(out, key);
        json_write_raw(out, ":");
        if (message && !strcmp(key, "content")) write_content(value, responses_items_is(item, "role", "assistant") ? "output_text" : "input_text", out);
        else write_value(value, out);
    }
    json_write_raw(out, has_status ? "}" : ",\"status\":\"completed\"}");
}

void responses_items_write(const json_t *list, size_t first, json_writer *out)
{
    for (size_t i = first; i < json_array_size(list); i++) {
        if (i > first) json_write_raw(out, ",");
        write_item(json_array_get(list, i), out);
    }
}
