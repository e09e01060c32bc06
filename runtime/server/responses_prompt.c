#include "runtime/server/responses_prompt.h"

#include <stdio.h>
#include <string.h>

#include "runtime/server/responses_items.h"

static const prompt_part reasoning_parts[] = {{"reasoning_text", "text"}, {"summary_text", "text"}, {"text", "text"}, {NULL, NULL}};

static bool is_message(const json_t *item)
{
    return !json_is_string(json_object_get(item, "type")) || responses_items_is(item, "type", "message");
}

static bool is_instruction(const json_t *item)
{
    return is_message(item) && (responses_items_is(item, "role", "system") || responses_items_is(item, "role", "developer"));
}

/* Whether the turn that item `at` belongs to goes on to a call: then a text in it was said before acting. */
static bool call_follows(const json_t *items, size_t at)
{
    for (size_t i = at + 1; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (responses_items_is(item, "type", "function_call")) return true;
        if (!responses_items_is(item, "type", "reasoning") && !(is_message(item) && responses_items_is(item, "role", "assistant"))) return false;
    }
    return false;
}

static bool add_assistant(prompt_builder *b, const json_fields *item, const json_t *items, size_t at)
{
    const char *phase = NULL, *text;
    size_t size;
    if (!json_fields_string(item, "phase", &phase, NULL) || !prompt_text_required(b, item, "content", &text, &size)) return false;
    if (phase && strcmp(phase, "commentary") && strcmp(phase, "final_answer"))
        return json_fields_fail(item, "phase", "\"commentary\" or \"final_answer\" is expected, not \"%.40s\".", phase);
    bool preamble = phase ? !strcmp(phase, "commentary") : call_follows(items, at);
    return prompt_assistant(b, preamble ? "commentary" : "final", text, size);
}

static bool add_message(prompt_builder *b, const json_fields *item, const json_t *items, size_t at)
{
    const char *role = NULL, *text;
    size_t size;
    if (!json_fields_string(item, "role", &role, NULL)) return false;
    if (!role) return json_fields_fail(item, "role", "is required.");
    if (!strcmp(role, "system") || !strcmp(role, "developer"))
        return prompt_text_required(b, item, "content", &text, &size) && prompt_instructions(b, text, size);
    if (!strcmp(role, "user")) return prompt_text_required(b, item, "content", &text, &size) && prompt_user(b, text, size);
    if (!strcmp(role, "assistant")) return add_assistant(b, item, items, at);
    return json_fields_fail(item, "role", "system, developer, user or assistant is expected, not \"%.40s\".", role);
}

/* Reasoning without text (somebody else's, encrypted or summarised away) is nothing to this model. */
static bool add_reasoning(prompt_builder *b, const json_fields *item)
{
    const char *text;
    size_t size;
    if (!prompt_text(b, item, "content", reasoning_parts, &text, &size)) return false;
    if (!size && !prompt_text(b, item, "summary", reasoning_parts, &text, &size)) return false;
    return !size || prompt_assistant(b, "analysis", text, size);
}

static bool add_call(prompt_builder *b, const json_fields *item)
{
    const char *id = NULL, *name = NULL, *text;
    size_t size;
    if (!json_fields_string(item, "call_id", &id, NULL) || !json_fields_string(item, "name", &name, NULL) ||
        !prompt_arguments(b, item, &text, &size))
        return false;
    if (!id) return json_fields_fail(item, "call_id", "is required.");
    if (!name || !chat_request_function_name(name)) return json_fields_fail(item, "name", "a function's name is expected.");
    return prompt_call(b, id, name, text, size);
}

/* `cut`: earlier items were left out, and perhaps the call. */
static bool add_output(prompt_builder *b, const json_fields *item, bool cut)
{
    const char *id = NULL, *text;
    size_t size;
    if (!json_fields_string(item, "call_id", &id, NULL) || !prompt_text_required(b, item, "output", &text, &size)) return false;
    if (!id) return json_fields_fail(item, "call_id", "is required.");
    const char *name = prompt_called(b, id);
    if (!name && cut) return true;
    if (!name) return json_fields_fail(item, "call_id", "no earlier function_call item has the call_id \"%.80s\".", id);
    return prompt_result(b, name, text, size);
}

static bool add_item(prompt_builder *b, const json_fields *item, const json_t *items, size_t at, bool cut)
{
    const char *type = NULL;
    if (!json_is_object(item->object)) return json_fields_fail(item, "", "an object is expected.");
    if (!json_fields_string(item, "type", &type, NULL)) return false;
    if (!type && !json_fields_get(item, "role")) return json_fields_fail(item, "type", "is required.");
    if (!type || !strcmp(type, "message")) return add_message(b, item, items, at);
    if (!strcmp(type, "reasoning")) return add_reasoning(b, item);
    if (!strcmp(type, "function_call")) return add_call(b, item);
    if (!strcmp(type, "function_call_output")) return add_output(b, item, cut);
    return json_fields_fail(item, "type", "\"%.40s\" is not supported; message, reasoning, function_call, function_call_output and item_reference are.",
                            type);
}

bool responses_prompt_build(const responses_request *request, const json_t *items, size_t own, size_t skip, const char *today,
                            prompt_messages *out, api_error *error)
{
    prompt_builder b;
    size_t skipped = 0;
    bool good = prompt_begin(&b, &request->chat, today, error);
    if (good && request->instructions) good = prompt_instructions(&b, request->instructions, request->instructions_size);
    for (size_t i = 0; good && i < json_array_size(items); i++) {
        char path[48];
        const json_t *value = json_array_get(items, i);
        if (skipped < skip && !is_instruction(value)) {
            skipped++;
            continue;
        }
        snprintf(path, sizeof path, i < own ? "previous_response_id[%zu]" : "input[%zu]", i < own ? i : i - own);
        json_fields item = {value, path, error};
        good = add_item(&b, &item, items, i, skip > 0);
    }
    return prompt_end(&b, good, out);
}

size_t responses_prompt_most(const json_t *items)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(items); i++) n += !is_instruction(json_array_get(items, i));
    return n ? n - 1 : 0;
}
