/* Conversations to token ids. Formula: openai/harmony `src/encoding.rs`, Render<Message>. Every part of a header is
 * encoded by itself, as there: pieces of the tokenizer's pattern never span two parts. */
#include <string.h>

#include "runtime/text/harmony_internal.h"
#include "runtime/text/harmony_sections.h"

static bool is(const char *text, const char *expected) { return text && strcmp(text, expected) == 0; }

static status put_id(int32_t id, id_list *out, status_detail *detail)
{
    return id_list_push(out, id) ? STATUS_OK
                                 : status_fail(detail, STATUS_INTERNAL, "out of memory for the prompt's tokens");
}

/* The text "{prefix}{text}" in one piece. */
static status put_text(const harmony *h, const char *prefix, const char *text, buffer *scratch, id_list *out,
                       status_detail *detail)
{
    buffer_clear(scratch);
    if (!buffer_append_text(scratch, prefix) || !buffer_append_text(scratch, text))
        return status_fail(detail, STATUS_INTERNAL, "out of memory for the prompt");
    return tokenizer_encode(h->tokens, scratch->data, scratch->size, out, detail);
}

static status put_author(const harmony *h, const harmony_message *m, buffer *scratch, id_list *out,
                         status_detail *detail)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    if (m->role == HARMONY_TOOL) {
        if (!m->name) return status_fail(detail, STATUS_INVALID, "a tool message has no name: say which tool answers");
        return put_text(h, "", m->name, scratch, out, detail);
    }
    STATUS_TRY(put_text(h, "", roles[m->role], scratch, out, detail));
    return m->name ? put_text(h, ":", m->name, scratch, out, detail) : STATUS_OK;
}

static status put_content_type(const harmony *h, const char *type, buffer *scratch, id_list *out, status_detail *detail)
{
    size_t marker = strlen(HARMONY_CONSTRAIN_MARKER);
    if (strncmp(type, HARMONY_CONSTRAIN_MARKER, marker) != 0) return put_text(h, " ", type, scratch, out, detail);
    STATUS_TRY(put_text(h, " ", "", scratch, out, detail));
    STATUS_TRY(put_id(h->constrain, out, detail));
    return put_text(h, "", type + marker, scratch, out, detail);
}

static status put_content(const harmony *h, const harmony_message *m, bool function_tools, buffer *scratch,
                          id_list *out, status_detail *detail)
{
    if (m->system && m->role != HARMONY_SYSTEM)
        return status_fail(detail, STATUS_INVALID,
                           "the content of a system message stands in a message of another role");
    if (m->developer && m->role != HARMONY_DEVELOPER)
        return status_fail(detail, STATUS_INVALID,
                           "the content of a developer message stands in a message of another role");
    if (!m->system && !m->developer)
        return m->text_size ? tokenizer_encode(h->tokens, m->text, m->text_size, out, detail) : STATUS_OK;

    buffer_clear(scratch);
    if (m->system)
        STATUS_TRY(harmony_sections_system(m->system, function_tools, scratch, detail));
    else
        STATUS_TRY(harmony_sections_developer(m->developer, scratch, detail));
    return scratch->size ? tokenizer_encode(h->tokens, scratch->data, scratch->size, out, detail) : STATUS_OK;
}

static status put_message(const harmony *h, const harmony_message *m, bool function_tools, buffer *scratch,
                          id_list *out, status_detail *detail)
{
    STATUS_TRY(put_id(h->start, out, detail));
    STATUS_TRY(put_author(h, m, scratch, out, detail));
    if (m->recipient && !is(m->recipient, "all")) STATUS_TRY(put_text(h, " to=", m->recipient, scratch, out, detail));
    if (m->channel) {
        STATUS_TRY(put_id(h->channel, out, detail));
        STATUS_TRY(put_text(h, "", m->channel, scratch, out, detail));
    }
    if (m->content_type) STATUS_TRY(put_content_type(h, m->content_type, scratch, out, detail));
    STATUS_TRY(put_id(h->message, out, detail));
    STATUS_TRY(put_content(h, m, function_tools, scratch, out, detail));
    bool call = m->role == HARMONY_ASSISTANT && m->recipient;
    return put_id(call ? h->call : h->end, out, detail);
}

static bool declares_functions(const harmony_message *m)
{
    if (!m->developer) return false;
    for (size_t i = 0; i < m->developer->n_namespaces; i++)
        if (is(m->developer->namespaces[i].name, "functions") && m->developer->namespaces[i].n_tools) return true;
    return false;
}

status harmony_render(const harmony *h, const harmony_message *messages, size_t n_messages, bool next_assistant,
                      id_list *out, status_detail *detail)
{
    size_t first_kept_analysis = 0; /* everything behind the last final message */
    bool function_tools = false;
    for (size_t i = 0; i < n_messages; i++) {
        if (is(messages[i].channel, "final")) first_kept_analysis = i;
        function_tools = function_tools || declares_functions(&messages[i]);
    }

    size_t kept = out->count;
    buffer scratch = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < n_messages && s == STATUS_OK; i++)
        if (i >= first_kept_analysis || !is(messages[i].channel, "analysis"))
            s = put_message(h, &messages[i], function_tools, &scratch, out, detail);
    if (s == STATUS_OK && next_assistant) s = put_id(h->start, out, detail);
    if (s == STATUS_OK && next_assistant) s = put_text(h, "", "assistant", &scratch, out, detail);
    buffer_free(&scratch);
    if (s != STATUS_OK) out->count = kept;
    return s;
}
