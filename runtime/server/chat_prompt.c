#include "runtime/server/chat_prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat_effort.h"

struct chat_prompt_memory {
    chat_prompt_memory *next;
    max_align_t data[];
};

void *chat_prompt_take(chat_prompt *p, size_t size)
{
    chat_prompt_memory *block = calloc(1, sizeof *block + size);
    if (!block) return NULL;
    block->next = p->memory;
    p->memory = block;
    return block->data;
}

bool chat_prompt_no_memory(api_error *error) { return api_error_set(error, 500, NULL, "Out of memory."); }

harmony_message *chat_prompt_add(chat_prompt *p, harmony_role role)
{
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        harmony_message *grown = realloc(p->messages, capacity * sizeof *grown);
        if (!grown) return NULL;
        p->messages = grown;
        p->capacity = capacity;
    }
    p->messages[p->n] = (harmony_message){.role = role, .text = ""};
    return &p->messages[p->n++];
}

/* ---- content ---------------------------------------------------------------------------------------------------- */

/* The text of one part; types of other APIs that mean text are taken too. */
static bool part_text(const json_fields *part, const char **text, size_t *size)
{
    const char *type = NULL;
    if (!json_is_object(part->object)) return json_fields_fail(part, "", "an object is expected.");
    if (!json_fields_string(part, "type", &type, NULL)) return false;
    if (!type) return json_fields_fail(part, "type", "is required.");
    bool is_text = !strcmp(type, "text") || !strcmp(type, "input_text") || !strcmp(type, "output_text");
    if (!is_text && strcmp(type, "refusal"))
        return json_fields_fail(part, "type", "\"%.40s\" is not supported; this model takes text only.", type);
    const char *key = is_text ? "text" : "refusal";
    *text = NULL;
    if (!json_fields_string(part, key, text, size)) return false;
    return *text ? true : json_fields_fail(part, key, "is required.");
}

static bool join_parts(chat_prompt *p, const json_fields *message, const json_t *parts, const char **text, size_t *size)
{
    buffer whole = {0};
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(parts); i++) {
        char path[128];
        snprintf(path, sizeof path, "%.90s.content[%zu]", message->path, i);
        json_fields part = {json_array_get(parts, i), path, message->error};
        const char *piece;
        size_t piece_size = 0;
        good = part_text(&part, &piece, &piece_size);
        if (good && !buffer_append(&whole, piece, piece_size)) good = chat_prompt_no_memory(message->error);
    }
    char *kept = good ? chat_prompt_take(p, whole.size + 1) : NULL;
    if (good && !kept) good = chat_prompt_no_memory(message->error);
    if (good) {
        if (whole.size) memcpy(kept, whole.data, whole.size);
        *text = kept;
        *size = whole.size;
    }
    buffer_free(&whole);
    return good;
}

bool chat_prompt_content(chat_prompt *p, const json_fields *message, const char **text, size_t *size)
{
    const json_t *content = json_fields_get(message, "content");
    *text = NULL;
    *size = 0;
    if (json_is_array(content)) return join_parts(p, message, content, text, size);
    return json_fields_string(message, "content", text, size);
}

static bool required_content(chat_prompt *p, const json_fields *message, const char **text, size_t *size)
{
    if (!chat_prompt_content(p, message, text, size)) return false;
    return *text ? true : json_fields_fail(message, "content", "is required.");
}

/* ---- instructions ----------------------------------------------------------------------------------------------- */

/* "# Response Formats" as docs/format.md of openai/harmony writes it; it asks, it does not force. */
static bool append_format(const chat_request *request, buffer *out)
{
    const json_t *format = request->schema_format;
    if (!format && !request->json_object) return true;
    const char *name = json_string_value(json_object_get(format, "name"));
    const char *description = json_string_value(json_object_get(format, "description"));
    json_t *schema = json_object_get(format, "schema");
    char *text = json_is_object(schema) ? json_dumps(schema, JSON_COMPACT) : strdup("{\"type\":\"object\"}");
    bool good = text && buffer_printf(out, "%s# Response Formats\n\n## %s\n\n", out->size ? "\n\n" : "", name && *name ? name : "json_object") &&
                (!description || !*description || buffer_printf(out, "// %s\n", description)) && buffer_append_text(out, text);
    free(text);
    return good;
}

/* Adds one system or developer text to the instructions. NUL cannot stand in them (they are C strings): U+FFFD takes its place. */
static bool append_instructions(chat_prompt *p, const json_fields *message, bool effort_wanted, buffer *out)
{
    const char *text;
    size_t size;
    if (!required_content(p, message, &text, &size)) return false;
    buffer clean = {0};
    bool found = false, good = true;
    harmony_effort effort = HARMONY_EFFORT_MEDIUM;
    for (size_t at = 0; good && at < size;) {
        size_t run = strnlen(text + at, size - at);
        good = buffer_append(&clean, text + at, run);
        at += run;
        if (good && at < size) good = buffer_append_text(&clean, "\xEF\xBF\xBD"), at++;
    }
    size_t before = out->size;
    if (good && before && clean.size) good = buffer_append_text(out, "\n\n");
    size_t start = out->size;
    if (good) good = chat_effort_extract(clean.data, clean.size, &found, &effort, out);
    if (good && out->size == start && start > before) out->data[out->size = before] = '\0'; /* nothing came: no separator */
    if (found && effort_wanted) p->system.effort = effort;
    buffer_free(&clean);
    return good ? true : chat_prompt_no_memory(message->error);
}

static bool add_developer(chat_prompt *p, const buffer *instructions, const harmony_namespace *functions, api_error *error)
{
    if (!instructions->size && !functions) return true;
    harmony_developer *developer = chat_prompt_take(p, sizeof *developer);
    char *text = chat_prompt_take(p, instructions->size + 1);
    harmony_message *message = chat_prompt_add(p, HARMONY_DEVELOPER);
    if (!developer || !text || !message) return chat_prompt_no_memory(error);
    if (instructions->size) memcpy(text, instructions->data, instructions->size);
    *developer = (harmony_developer){instructions->size ? text : NULL, functions, functions ? 1 : 0};
    message->developer = developer;
    return true;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

typedef struct builder {
    chat_prompt *prompt;
    const chat_request *request;
    json_t *calls;       /* id of a tool call -> function name */
    buffer instructions; /* of the run of system and developer messages being read */
    bool developer_done; /* the developer message with the tools is there */
} builder;

static bool is_instruction_role(const char *role) { return !strcmp(role, "system") || !strcmp(role, "developer"); }

/* Ends a run of system and developer messages. The first one, even when empty, carries tools and response format. */
static bool end_instructions(builder *b, api_error *error)
{
    const chat_tools *tools = &b->request->tools;
    const harmony_namespace *functions = NULL;
    if (!b->developer_done) {
        if (!append_format(b->request, &b->instructions)) return chat_prompt_no_memory(error);
        if (tools->offered) functions = &b->prompt->functions;
    }
    b->developer_done = true;
    bool good = add_developer(b->prompt, &b->instructions, functions, error);
    buffer_clear(&b->instructions);
    return good;
}

static bool add_tool_result(builder *b, const json_fields *message)
{
    const char *id = NULL, *name = NULL, *text;
    size_t size;
    if (!json_fields_string(message, "tool_call_id", &id, NULL) || !json_fields_string(message, "name", &name, NULL) ||
        !required_content(b->prompt, message, &text, &size))
        return false;
    const char *called = id ? json_string_value(json_object_get(b->calls, id)) : NULL;
    if (called) name = called;
    if (!name && !id) return json_fields_fail(message, "tool_call_id", "is required.");
    if (!name) return json_fields_fail(message, "tool_call_id", "no earlier assistant message has a tool call with the id \"%.80s\".", id);
    if (!chat_request_function_name(name)) return json_fields_fail(message, "name", "is not a function's name.");
    static const char prefix[] = "functions.";
    char *full = chat_prompt_take(b->prompt, strlen(name) + sizeof prefix);
    harmony_message *m = chat_prompt_add(b->prompt, HARMONY_TOOL);
    if (!full || !m) return chat_prompt_no_memory(message->error);
    stpcpy(stpcpy(full, prefix), name);
    *m = (harmony_message){.role = HARMONY_TOOL, .name = full, .recipient = "assistant", .channel = "commentary",
                            .text = text, .text_size = size};
    return true;
}

static bool add_user(builder *b, const json_fields *message)
{
    const char *text;
    size_t size;
    if (!required_content(b->prompt, message, &text, &size)) return false;
    harmony_message *m = chat_prompt_add(b->prompt, HARMONY_USER);
    if (!m) return chat_prompt_no_memory(message->error);
    m->text = text;
    m->text_size = size;
    return true;
}

static bool add_message(builder *b, const json_fields *message)
{
    const char *role = NULL;
    if (!json_is_object(message->object)) return json_fields_fail(message, "", "an object is expected.");
    if (!json_fields_string(message, "role", &role, NULL)) return false;
    if (!role) return json_fields_fail(message, "role", "is required.");
    if (is_instruction_role(role)) return append_instructions(b->prompt, message, !b->request->has_effort, &b->instructions);
    if ((!b->developer_done || b->instructions.size) && !end_instructions(b, message->error)) return false;
    if (!strcmp(role, "user")) return add_user(b, message);
    if (!strcmp(role, "assistant")) return chat_prompt_assistant(b->prompt, message, b->calls);
    if (!strcmp(role, "tool") || !strcmp(role, "function")) return add_tool_result(b, message);
    return json_fields_fail(message, "role", "system, developer, user, assistant or tool is expected, not \"%.40s\".", role);
}

static bool add_messages(builder *b, api_error *error)
{
    const json_t *messages = b->request->messages;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        char path[48];
        snprintf(path, sizeof path, "messages[%zu]", i);
        json_fields message = {json_array_get(messages, i), path, error};
        if (!add_message(b, &message)) return false;
    }
    return b->developer_done && !b->instructions.size ? true : end_instructions(b, error);
}

bool chat_prompt_build(const chat_request *request, const char *today, chat_prompt *out, api_error *error)
{
    chat_prompt prompt = {.system = harmony_system_default(),
                          .functions = {"functions", NULL, request->tools.items, request->tools.n}};
    prompt.system.current_date = request->date ? request->date : today;
    if (request->has_effort) prompt.system.effort = request->effort;
    builder b = {.prompt = &prompt, .request = request, .calls = json_object()};
    bool good = b.calls && chat_prompt_add(&prompt, HARMONY_SYSTEM) ? add_messages(&b, error) : chat_prompt_no_memory(error);
    buffer_free(&b.instructions);
    if (good) {
        *out = prompt;
        /* what the messages point to inside the prompt has moved with it */
        out->messages[0].system = &out->system;
        for (size_t i = 0; i < out->n; i++) {
            harmony_developer *developer = (harmony_developer *)out->messages[i].developer;
            if (developer && developer->n_namespaces) developer->namespaces = &out->functions;
        }
    } else {
        chat_prompt_free(&prompt);
        *out = (chat_prompt){0};
    }
    json_decref(b.calls);
    return good;
}

void chat_prompt_free(chat_prompt *p)
{
    free(p->messages);
    while (p->memory) {
        chat_prompt_memory *block = p->memory;
        p->memory = block->next;
        free(block);
    }
    *p = (chat_prompt){0};
}
