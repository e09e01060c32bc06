#include "runtime/server/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat_effort.h"

struct prompt_memory {
    prompt_memory *next;
    max_align_t data[];
};

static const char functions_prefix[] = "functions.";

void *prompt_take(prompt_builder *b, size_t size)
{
    prompt_memory *block = calloc(1, sizeof *block + size);
    if (!block) return NULL;
    block->next = b->prompt.memory;
    b->prompt.memory = block;
    return block->data;
}

bool prompt_no_memory(api_error *error) { return api_error_set(error, 500, NULL, "Out of memory."); }

/* A new message at the end, zeroed; NULL when memory ends. */
static harmony_message *add(prompt_builder *b, harmony_role role)
{
    prompt_messages *p = &b->prompt;
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        harmony_message *grown = realloc(p->messages, capacity * sizeof *grown);
        if (!grown) return NULL;
        p->messages = grown;
        p->capacity = capacity;
    }
    harmony_message *m = &p->messages[p->n++];
    *m = (harmony_message){.role = role, .text = ""};
    return m;
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

/* NUL cannot stand in instructions (they are C strings): U+FFFD takes its place. */
static bool without_nul(const char *text, size_t size, buffer *out)
{
    for (size_t at = 0; at < size;) {
        size_t run = strnlen(text + at, size - at);
        if (!buffer_append(out, text + at, run)) return false;
        at += run;
        if (at < size && !buffer_append_text(out, "\xEF\xBF\xBD")) return false;
        at++;
    }
    return true;
}

bool prompt_instructions(prompt_builder *b, const char *text, size_t size)
{
    buffer clean = {0}, *out = &b->instructions;
    bool found = false, good = without_nul(text, size, &clean);
    harmony_effort effort = HARMONY_EFFORT_MEDIUM;
    size_t before = out->size;
    if (good && before && clean.size) good = buffer_append_text(out, "\n\n");
    size_t start = out->size;
    if (good) good = chat_effort_extract(clean.data, clean.size, &found, &effort, out);
    if (good && out->size == start && start > before) out->data[out->size = before] = '\0'; /* nothing came: no separator */
    if (found && !b->request->has_effort) b->prompt.system.effort = effort;
    buffer_free(&clean);
    return good ? true : prompt_no_memory(b->error);
}

static bool add_developer(prompt_builder *b, const harmony_namespace *functions)
{
    const buffer *instructions = &b->instructions;
    if (!instructions->size && !functions) return true;
    harmony_developer *developer = prompt_take(b, sizeof *developer);
    char *text = prompt_take(b, instructions->size + 1);
    harmony_message *message = add(b, HARMONY_DEVELOPER);
    if (!developer || !text || !message) return prompt_no_memory(b->error);
    if (instructions->size) memcpy(text, instructions->data, instructions->size);
    *developer = (harmony_developer){instructions->size ? text : NULL, functions, functions ? 1 : 0};
    message->developer = developer;
    return true;
}

/* Ends a run of system and developer texts. The first one, even when empty, carries tools and response format. */
static bool end_instructions(prompt_builder *b)
{
    const harmony_namespace *functions = NULL;
    if (b->developer_done && !b->instructions.size) return true;
    if (!b->developer_done) {
        if (!append_format(b->request, &b->instructions)) return prompt_no_memory(b->error);
        if (b->request->tools.offered) functions = &b->prompt.functions;
    }
    b->developer_done = true;
    bool good = add_developer(b, functions);
    buffer_clear(&b->instructions);
    return good;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* A message that is no instruction: what instructions came before it are complete. */
static harmony_message *add_text(prompt_builder *b, harmony_role role, const char *text, size_t size)
{
    if (!end_instructions(b)) return NULL;
    harmony_message *m = add(b, role);
    if (!m) {
        prompt_no_memory(b->error);
        return NULL;
    }
    m->text = text;
    m->text_size = size;
    return m;
}

/* "functions.NAME"; NULL after setting the error. */
static const char *full_name(prompt_builder *b, const char *name)
{
    char *full = prompt_take(b, strlen(name) + sizeof functions_prefix);
    if (full) stpcpy(stpcpy(full, functions_prefix), name);
    else prompt_no_memory(b->error);
    return full;
}

bool prompt_user(prompt_builder *b, const char *text, size_t size) { return add_text(b, HARMONY_USER, text, size) != NULL; }

bool prompt_assistant(prompt_builder *b, const char *channel, const char *text, size_t size)
{
    harmony_message *m = add_text(b, HARMONY_ASSISTANT, text, size);
    if (m) m->channel = channel;
    return m != NULL;
}

bool prompt_call(prompt_builder *b, const char *id, const char *name, const char *arguments, size_t size)
{
    harmony_message *m = add_text(b, HARMONY_ASSISTANT, arguments, size);
    if (!m) return false;
    m->recipient = full_name(b, name);
    m->channel = "commentary";
    m->content_type = "json";
    if (id && json_object_set_new(b->calls, id, json_string(name))) return prompt_no_memory(b->error);
    return m->recipient != NULL;
}

const char *prompt_called(const prompt_builder *b, const char *id) { return json_string_value(json_object_get(b->calls, id)); }

bool prompt_result(prompt_builder *b, const char *name, const char *text, size_t size)
{
    harmony_message *m = add_text(b, HARMONY_TOOL, text, size);
    if (!m) return false;
    m->name = full_name(b, name);
    m->recipient = "assistant";
    m->channel = "commentary";
    return m->name != NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

bool prompt_begin(prompt_builder *b, const chat_request *request, const char *today, api_error *error)
{
    *b = (prompt_builder){.request = request, .error = error, .calls = json_object()};
    b->prompt.system = harmony_system_default();
    b->prompt.system.current_date = request->date ? request->date : today;
    if (request->has_effort) b->prompt.system.effort = request->effort;
    b->prompt.functions = (harmony_namespace){"functions", NULL, request->tools.items, request->tools.n};
    return b->calls && add(b, HARMONY_SYSTEM) ? true : prompt_no_memory(error);
}

bool prompt_end(prompt_builder *b, bool good, prompt_messages *out)
{
    good = good && end_instructions(b);
    buffer_free(&b->instructions);
    json_decref(b->calls);
    if (!good) {
        prompt_free(&b->prompt);
        *out = (prompt_messages){0};
        return false;
    }
    *out = b->prompt;
    /* what the messages point to inside the prompt has moved with it */
    out->messages[0].system = &out->system;
    for (size_t i = 0; i < out->n; i++) {
        harmony_developer *developer = (harmony_developer *)out->messages[i].developer;
        if (developer && developer->n_namespaces) developer->namespaces = &out->functions;
    }
    return true;
}

void prompt_free(prompt_messages *p)
{
    free(p->messages);
    while (p->memory) {
        prompt_memory *block = p->memory;
        p->memory = block->next;
        free(block);
    }
    *p = (prompt_messages){0};
}
