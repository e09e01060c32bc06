/* tools, tool_choice and response_format of a request, in the forms of both APIs. */
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

/* The object that says more than "type": the same one, or the one under `key`. `path` has room for both names. */
static bool open_inner(const json_fields *outer, chat_tools_form form, const char *key, char path[96], json_fields *out)
{
    const json_t *inner = outer->object;
    if (form == CHAT_TOOLS_NESTED && !json_fields_object(outer, key, &inner)) return false;
    if (form == CHAT_TOOLS_NESTED && inner == outer->object) return json_fields_fail(outer, key, "is required.");
    snprintf(path, 96, "%.64s%s%.30s", outer->path, form == CHAT_TOOLS_NESTED ? "." : "", form == CHAT_TOOLS_NESTED ? key : "");
    *out = (json_fields){inner, path, outer->error};
    return true;
}

static bool parse_tool(const json_t *value, size_t index, chat_tools_form form, harmony_tool *out, bool *strict, api_error *error)
{
    char path[64], inner[96];
    snprintf(path, sizeof path, "tools[%zu]", index);
    json_fields f = {value, path, error}, g;
    if (!json_is_object(value)) return json_fields_fail(&f, "", "an object is expected.");
    const char *type = NULL;
    if (!json_fields_string(&f, "type", &type, NULL)) return false;
    if (type && strcmp(type, "function")) return json_fields_fail(&f, "type", "only \"function\" is supported, not \"%.40s\".", type);
    if (!open_inner(&f, form, "function", inner, &g)) return false;
    const json_t *parameters = NULL;
    if (!json_fields_string(&g, "name", &out->name, NULL) || !json_fields_string(&g, "description", &out->description, NULL) ||
        !json_fields_object(&g, "parameters", &parameters) || !json_fields_bool(&g, "strict", strict))
        return false;
    if (!out->name) return json_fields_fail(&g, "name", "is required.");
    if (!chat_request_function_name(out->name))
        return json_fields_fail(&g, "name", "1 to 128 characters without spaces and <>|\" are allowed.");
    out->parameters = parameters;
    return true;
}

static bool parse_tools(const json_fields *body, chat_tools_form form, chat_tools *out)
{
    const json_t *tools = NULL;
    if (!json_fields_array(body, "tools", &tools)) return false;
    if (!tools) return true;
    size_t n = json_array_size(tools);
    if (!n && form == CHAT_TOOLS_FLAT) return true; /* as its clients say "none" */
    if (!n) return json_fields_fail(body, "tools", "an array with at least one tool is expected; leave the field out to use none.");
    if (n > MAX_TOOLS) return json_fields_fail(body, "tools", "at most %d tools are allowed.", MAX_TOOLS);
    out->form = form;
    out->items = calloc(n, sizeof *out->items);
    out->names = calloc(n, sizeof *out->names);
    out->strict = calloc(n, sizeof *out->strict);
    if (!out->items || !out->names || !out->strict) return api_error_set(body->error, 500, NULL, "Out of memory.");
    for (size_t i = 0; i < n; i++) {
        if (!parse_tool(json_array_get(tools, i), i, form, &out->items[i], &out->strict[i], body->error)) return false;
        out->names[i] = out->items[i].name;
    }
    out->n = n;
    out->offered = true;
    return true;
}

static bool parse_named_choice(const json_fields *body, const json_t *choice, chat_tools_form form, chat_tools *tools)
{
    json_fields f = {choice, "tool_choice", body->error}, g;
    char inner[96];
    const char *name = NULL, *type = NULL;
    if (!json_fields_string(&f, "type", &type, NULL)) return false;
    if (!type || strcmp(type, "function"))
        return json_fields_fail(body, "tool_choice", "an object must be {\"type\": \"function\", %s}; \"%.40s\" is not supported.",
                                form == CHAT_TOOLS_FLAT ? "\"name\": ..." : "\"function\": {\"name\": ...}", type ? type : "");
    if (!open_inner(&f, form, "function", inner, &g)) return false;
    if (!json_fields_string(&g, "name", &name, NULL)) return false;
    if (!name) return json_fields_fail(&g, "name", "is required.");
    tools->choice = CHAT_CHOICE_NAMED;
    for (tools->named = 0; tools->named < tools->n; tools->named++)
        if (!strcmp(tools->names[tools->named], name)) return true;
    return json_fields_fail(&g, "name", "\"%.128s\" is not among the tools.", name);
}

static bool parse_choice(const json_fields *body, chat_tools_form form, chat_tools *tools)
{
    const json_t *choice = json_fields_get(body, "tool_choice");
    if (!choice) return true;
    const char *word = json_is_string(choice) ? json_string_value(choice) : "";
    if (!strcmp(word, "none")) {
        tools->offered = false;
        return true;
    }
    if (!tools->n && form == CHAT_TOOLS_FLAT && !strcmp(word, "auto")) return true;
    if (!tools->n) return json_fields_fail(body, "tool_choice", "is only allowed together with tools.");
    if (!strcmp(word, "auto")) return true;
    if (json_is_object(choice)) return parse_named_choice(body, choice, form, tools);
    if (!strcmp(word, "required")) {
        tools->choice = CHAT_CHOICE_REQUIRED;
        return true;
    }
    return json_fields_fail(body, "tool_choice", "\"none\", \"auto\", \"required\" or a named function is expected.");
}

bool chat_tools_format(const json_fields *owner, chat_tools_form form, chat_request *out)
{
    const char *key = form == CHAT_TOOLS_FLAT ? "format" : "response_format", *type = NULL, *text = NULL;
    const json_t *format = NULL, *inner = NULL;
    char path[64], deeper[96];
    out->tools.form = form;
    if (!json_fields_object(owner, key, &format)) return false;
    if (!format) return true;
    json_fields_path(owner, key, path, sizeof path);
    json_fields f = {format, path, owner->error}, g;
    if (!json_fields_string(&f, "type", &type, NULL)) return false;
    if (!type) return json_fields_fail(&f, "type", "is required.");
    if (!strcmp(type, "text")) return true;
    if (!strcmp(type, "json_object")) {
        out->json_object = true;
        return true;
    }
    if (strcmp(type, "json_schema"))
        return json_fields_fail(&f, "type", "\"text\", \"json_object\" or \"json_schema\" is expected, not \"%.40s\".", type);
    if (!open_inner(&f, form, "json_schema", deeper, &g) || !json_fields_string(&g, "name", &text, NULL) ||
        !json_fields_string(&g, "description", &text, NULL) || !json_fields_object(&g, "schema", &inner))
        return false;
    out->schema_format = g.object;
    return true;
}

bool chat_tools_parse(const json_fields *body, chat_tools_form form, chat_request *out)
{
    return parse_tools(body, form, &out->tools) && parse_choice(body, form, &out->tools);
}
