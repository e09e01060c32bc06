/* An assistant message of the history: reasoning, content and calls, in the order in which the model writes them. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "runtime/server/chat_prompt.h"

static bool add_text(chat_prompt *p, const char *channel, const char *text, size_t size, api_error *error)
{
    harmony_message *m = chat_prompt_add(p, HARMONY_ASSISTANT);
    if (!m) return chat_prompt_no_memory(error);
    m->channel = channel;
    m->text = text;
    m->text_size = size;
    return true;
}

/* Arguments are a string of JSON; some clients send the object itself. */
static bool read_arguments(chat_prompt *p, const json_fields *function, const char **text, size_t *size)
{
    const json_t *value = json_fields_get(function, "arguments");
    *text = "";
    *size = 0;
    if (!json_is_object(value)) return json_fields_string(function, "arguments", text, size);
    char *dump = json_dumps(value, JSON_COMPACT);
    char *kept = dump ? chat_prompt_take(p, strlen(dump) + 1) : NULL;
    if (kept) {
        *size = strlen(dump);
        *text = strcpy(kept, dump);
    }
    free(dump);
    return kept ? true : chat_prompt_no_memory(function->error);
}

static bool add_call(chat_prompt *p, const json_fields *call, json_t *calls)
{
    const json_t *function = NULL;
    const char *id = NULL, *name = NULL, *text;
    size_t size;
    char path[128];
    if (!json_is_object(call->object)) return json_fields_fail(call, "", "an object is expected.");
    if (!json_fields_string(call, "id", &id, NULL) || !json_fields_object(call, "function", &function)) return false;
    if (!function) return json_fields_fail(call, "function", "is required.");
    snprintf(path, sizeof path, "%.110s.function", call->path);
    json_fields f = {function, path, call->error};
    if (!json_fields_string(&f, "name", &name, NULL) || !read_arguments(p, &f, &text, &size)) return false;
    if (!name || !chat_request_function_name(name)) return json_fields_fail(&f, "name", "a function's name is expected.");
    static const char prefix[] = "functions.";
    char *recipient = chat_prompt_take(p, strlen(name) + sizeof prefix);
    harmony_message *m = chat_prompt_add(p, HARMONY_ASSISTANT);
    if (!recipient || !m || (id && json_object_set_new(calls, id, json_string(name)))) return chat_prompt_no_memory(call->error);
    stpcpy(stpcpy(recipient, prefix), name);
    *m = (harmony_message){.role = HARMONY_ASSISTANT, .recipient = recipient, .channel = "commentary",
                            .content_type = "json", .text = text, .text_size = size};
    return true;
}

bool chat_prompt_assistant(chat_prompt *p, const json_fields *message, json_t *calls)
{
    const char *reasoning = NULL, *text;
    size_t reasoning_size = 0, size;
    const json_t *list = NULL;
    if (!json_fields_string(message, "reasoning_content", &reasoning, &reasoning_size) ||
        !json_fields_string(message, "reasoning", &reasoning, &reasoning_size) || !chat_prompt_content(p, message, &text, &size) ||
        !json_fields_array(message, "tool_calls", &list))
        return false;
    size_t n = json_array_size(list);
    if (!text && !n && !reasoning) return json_fields_fail(message, "content", "is required when there are no tool_calls.");
    if (reasoning_size && !add_text(p, "analysis", reasoning, reasoning_size, message->error)) return false;
    if (text && (size || !n) && !add_text(p, n ? "commentary" : "final", text, size, message->error)) return false;
    for (size_t i = 0; i < n; i++) {
        char path[128];
        snprintf(path, sizeof path, "%.90s.tool_calls[%zu]", message->path, i);
        json_fields call = {json_array_get(list, i), path, message->error};
        if (!add_call(p, &call, calls)) return false;
    }
    return true;
}
