#include "runtime/server/chat_prompt.h"

#include <stdio.h>
#include <string.h>

static bool add_tool_result(prompt_builder *b, const json_fields *message)
{
    const char *id = NULL, *name = NULL, *text;
    size_t size;
    if (!json_fields_string(message, "tool_call_id", &id, NULL) || !json_fields_string(message, "name", &name, NULL) ||
        !prompt_text_required(b, message, "content", &text, &size))
        return false;
    const char *called = id ? prompt_called(b, id) : NULL;
    if (called) name = called;
    if (!name && !id) return json_fields_fail(message, "tool_call_id", "is required.");
    if (!name) return json_fields_fail(message, "tool_call_id", "no earlier assistant message has a tool call with the id \"%.80s\".", id);
    if (!chat_request_function_name(name)) return json_fields_fail(message, "name", "is not a function's name.");
    return prompt_result(b, name, text, size);
}

static bool add_message(prompt_builder *b, const json_fields *message)
{
    const char *role = NULL, *text;
    size_t size;
    if (!json_is_object(message->object)) return json_fields_fail(message, "", "an object is expected.");
    if (!json_fields_string(message, "role", &role, NULL)) return false;
    if (!role) return json_fields_fail(message, "role", "is required.");
    if (!strcmp(role, "system") || !strcmp(role, "developer"))
        return prompt_text_required(b, message, "content", &text, &size) && prompt_instructions(b, text, size);
    if (!strcmp(role, "user")) return prompt_text_required(b, message, "content", &text, &size) && prompt_user(b, text, size);
    if (!strcmp(role, "assistant")) return chat_prompt_assistant(b, message);
    if (!strcmp(role, "tool") || !strcmp(role, "function")) return add_tool_result(b, message);
    return json_fields_fail(message, "role", "system, developer, user, assistant or tool is expected, not \"%.40s\".", role);
}

bool chat_prompt_build(const chat_request *request, const char *today, prompt_messages *out, api_error *error)
{
    prompt_builder b;
    bool good = prompt_begin(&b, request, today, error);
    for (size_t i = 0; good && i < json_array_size(request->messages); i++) {
        char path[48];
        snprintf(path, sizeof path, "messages[%zu]", i);
        json_fields message = {json_array_get(request->messages, i), path, error};
        good = add_message(&b, &message);
    }
    return prompt_end(&b, good, out);
}
