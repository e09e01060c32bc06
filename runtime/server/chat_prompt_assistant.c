/* An assistant message of the history: reasoning, content and calls, in the order in which the model writes them. */
#include <stdio.h>
#include <string.h>

#include "runtime/server/chat_prompt.h"

static bool add_call(prompt_builder *b, const json_fields *call)
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
    if (!json_fields_string(&f, "name", &name, NULL) || !prompt_arguments(b, &f, &text, &size)) return false;
    if (!name || !chat_request_function_name(name)) return json_fields_fail(&f, "name", "a function's name is expected.");
    return prompt_call(b, id, name, text, size);
}

bool chat_prompt_assistant(prompt_builder *b, const json_fields *message)
{
    const char *reasoning = NULL, *text;
    size_t reasoning_size = 0, size;
    const json_t *list = NULL;
    if (!json_fields_string(message, "reasoning_content", &reasoning, &reasoning_size) ||
        !json_fields_string(message, "reasoning", &reasoning, &reasoning_size) ||
        !prompt_text(b, message, "content", prompt_message_parts, &text, &size) || !json_fields_array(message, "tool_calls", &list))
        return false;
    size_t n = json_array_size(list);
    if (!text && !n && !reasoning) return json_fields_fail(message, "content", "is required when there are no tool_calls.");
    if (reasoning_size && !prompt_assistant(b, "analysis", reasoning, reasoning_size)) return false;
    if (text && (size || !n) && !prompt_assistant(b, n ? "commentary" : "final", text, size)) return false;
    for (size_t i = 0; i < n; i++) {
        char path[128];
        snprintf(path, sizeof path, "%.90s.tool_calls[%zu]", message->path, i);
        json_fields call = {json_array_get(list, i), path, message->error};
        if (!add_call(b, &call)) return false;
    }
    return true;
}
