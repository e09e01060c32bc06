/* tools, tool_choice and response_format of a chat request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat_request.h"

enum { MAX_TOOLS = 1024 };

bool chat_request_function_name(const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= 0x20 || c == 0x7f || strchr("<>|\"", c)) return false;
    }
    return size >= 1 && size <= 128;
}

static bool parse_tool(const json_t *value, size_t index, harmony_tool *out, api_error *error)
{
    char path[64], inner[80];
    snprintf(path, sizeof path, "tools[%zu]", index);
    snprintf(inner, sizeof inner, "%s.function", path);
    json_fields f = {value, path, error};
    if (!json_is_object(value)) return json_fields_fail(&f, "", "an object is expected.");
    const char *type = NULL;
    const json_t *function = NULL;
    if (!json_fields_string(&f, "type", &type, NULL) || !json_fields_object(&f, "function", &function)) return false;
    if (type && strcmp(type, "function")) return json_fields_fail(&f, "type", "only \"function\" is supported, not \"%.40s\".", type);
    if (!function) return json_fields_fail(&f, "function", "is required.");
    json_fields g = {function, inner, error};
    const json_t *parameters = NULL;
    if (!json_fields_string(&g, "name", &out->name, NULL) || !json_fields_string(&g, "description", &out->description, NULL) ||
        !json_fields_object(&g, "parameters", &parameters))
        return false;
    if (!out->name) return json_fields_fail(&g, "name", "is required.");
    if (!chat_request_function_name(out->name))
        return json_fields_fail(&g, "name", "1 to 128 characters without spaces and <>|\" are allowed.");
    out->parameters = parameters;
    return true;
}

static bool parse_tools(const json_fields *body, chat_tools *out)
{
    const json_t *tools = NULL;
    if (!json_fields_array(body, "tools", &tools)) return false;
    if (!tools) return true;
    size_t n = json_array_size(tools);
    if (!n) return json_fields_fail(body, "tools", "an array with at least one tool is expected; leave the field out to use none.");
    if (n > MAX_TOOLS) return json_fields_fail(body, "tools", "at most %d tools are allowed.", MAX_TOOLS);
    out->items = calloc(n, sizeof *out->items);
    out->names = calloc(n, sizeof *out->names);
    if (!out->items || !out->names) return api_error_set(body->error, 500, NULL, "Out of memory.");
    for (size_t i = 0; i < n; i++) {
        if (!parse_tool(json_array_get(tools, i), i, &out->items[i], body->error)) return false;
        out->names[i] = out->items[i].name;
    }
    out->n = n;
    out->offered = true;
    return true;
}

static bool parse_named_choice(const json_fields *body, const json_t *choice, const chat_tools *tools)
{
    json_fields f = {choice, "tool_choice", body->error};
    const json_t *function = NULL;
    const char *name = NULL, *type = NULL;
    if (!json_fields_string(&f, "type", &type, NULL) || !json_fields_object(&f, "function", &function)) return false;
    if (!type || strcmp(type, "function") || !function)
        return json_fields_fail(body, "tool_choice", "an object must be {\"type\": \"function\", \"function\": {\"name\": ...}}.");
    json_fields g = {function, "tool_choice.function", body->error};
    if (!json_fields_string(&g, "name", &name, NULL)) return false;
    if (!name) return json_fields_fail(&g, "name", "is required.");
    for (size_t i = 0; i < tools->n; i++)
        if (!strcmp(tools->names[i], name))
            return api_error_set(body->error, 501, "tool_choice", "tool_choice with a named function is not supported yet; use \"auto\".");
    return json_fields_fail(&g, "name", "\"%.128s\" is not among the tools.", name);
}

static bool parse_choice(const json_fields *body, chat_tools *tools)
{
    const json_t *choice = json_fields_get(body, "tool_choice");
    if (!choice) return true;
    const char *word = json_is_string(choice) ? json_string_value(choice) : "";
    if (!strcmp(word, "none")) {
        tools->offered = false;
        return true;
    }
    if (!tools->n) return json_fields_fail(body, "tool_choice", "is only allowed together with tools.");
    if (!strcmp(word, "auto")) return true;
    if (json_is_object(choice)) return parse_named_choice(body, choice, tools);
    if (!strcmp(word, "required"))
        return api_error_set(body->error, 501, "tool_choice", "tool_choice \"required\" is not supported yet; use \"auto\".");
    return json_fields_fail(body, "tool_choice", "\"none\", \"auto\", \"required\" or a named function is expected.");
}

static bool parse_format(const json_fields *body, chat_request *out)
{
    const json_t *format = NULL, *schema = NULL;
    const char *type = NULL;
    if (!json_fields_object(body, "response_format", &format)) return false;
    if (!format) return true;
    json_fields f = {format, "response_format", body->error};
    if (!json_fields_string(&f, "type", &type, NULL) || !json_fields_object(&f, "json_schema", &schema)) return false;
    if (!type) return json_fields_fail(&f, "type", "is required.");
    if (!strcmp(type, "text")) return true;
    if (!strcmp(type, "json_object")) {
        out->json_object = true;
        return true;
    }
    if (strcmp(type, "json_schema"))
        return json_fields_fail(&f, "type", "\"text\", \"json_object\" or \"json_schema\" is expected, not \"%.40s\".", type);
    if (!schema) return json_fields_fail(&f, "json_schema", "is required with type \"json_schema\".");
    json_fields g = {schema, "response_format.json_schema", body->error};
    const char *text = NULL;
    const json_t *inner = NULL;
    if (!json_fields_string(&g, "name", &text, NULL) || !json_fields_string(&g, "description", &text, NULL) ||
        !json_fields_object(&g, "schema", &inner))
        return false;
    out->schema_format = schema;
    return true;
}

bool chat_tools_parse(const json_fields *body, chat_request *out)
{
    return parse_tools(body, &out->tools) && parse_choice(body, &out->tools) && parse_format(body, out);
}
