#include "runtime/text/harmony_sections.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/harmony_json.h"

/* Text under construction. After the first failed growth every append is skipped and `failed` stays set. */
typedef struct writer {
    buffer *out;
    bool failed, has_section;
} writer;

static void write_text(writer *w, const char *text) { w->failed = w->failed || !buffer_append_text(w->out, text); }

static void write_all(writer *w, const char *a, const char *b, const char *c)
{
    write_text(w, a);
    write_text(w, b);
    write_text(w, c);
}

/* A blank line between sections, none before the first. */
static void begin_section(writer *w)
{
    if (w->has_section) write_text(w, "\n\n");
    w->has_section = true;
}

/* Every line of `text` after `prefix`, each ended by a newline. Lines as Rust's str::lines: split at \n or \r\n, no
 * empty line at the end. */
static void write_lines(writer *w, const char *prefix, const char *text)
{
    while (*text) {
        size_t size = strcspn(text, "\n");
        bool ended = text[size] == '\n';
        size_t shown = ended && size && text[size - 1] == '\r' ? size - 1 : size;
        write_text(w, prefix);
        w->failed = w->failed || !buffer_append(w->out, text, shown);
        write_text(w, "\n");
        text += size + ended;
    }
}

static status write_tool(writer *w, const harmony_tool *tool, status_detail *detail)
{
    if (tool->description) write_lines(w, "// ", tool->description);
    if (!tool->parameters || json_is_null(tool->parameters)) {
        write_all(w, "type ", tool->name, " = () => any;\n\n");
        return STATUS_OK;
    }
    if (!harmony_json_depth_allowed(tool->parameters))
        return status_fail(detail, STATUS_INVALID,
                           "the parameters of tool %.64s are nested deeper than %d levels: make the schema flatter",
                           tool->name, HARMONY_JSON_DEPTH);
    write_all(w, "type ", tool->name, " = (_: ");
    w->failed = w->failed || !harmony_schema_typescript(tool->parameters, w->out);
    write_text(w, ") => any;\n\n");
    return STATUS_OK;
}

static status write_namespace(writer *w, const harmony_namespace *space, status_detail *detail)
{
    begin_section(w);
    write_all(w, "## ", space->name, "\n");
    bool described = space->description && *space->description;
    if (described || space->n_tools) write_text(w, "\n");
    if (described) write_lines(w, space->n_tools ? "// " : "", space->description);
    if (space->n_tools == 0) {
        /* Lines are joined, not ended, by newlines: the last one carries none. */
        if (described && !w->failed) w->out->data[--w->out->size] = '\0';
        return STATUS_OK;
    }
    write_all(w, "namespace ", space->name, " {\n\n");
    for (size_t i = 0; i < space->n_tools; i++) STATUS_TRY(write_tool(w, &space->tools[i], detail));
    write_all(w, "} // namespace ", space->name, "");
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    const harmony_namespace *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* "# Tools" and the namespaces in byte order of their names; nothing without namespaces. */
static status write_tools(writer *w, const harmony_namespace *spaces, size_t count, status_detail *detail)
{
    if (count == 0) return STATUS_OK;
    const harmony_namespace **sorted = malloc(count * sizeof *sorted);
    if (!sorted) {
        w->failed = true;
        return STATUS_OK;
    }
    for (size_t i = 0; i < count; i++) sorted[i] = &spaces[i];
    qsort(sorted, count, sizeof *sorted, compare_names);

    status s = STATUS_OK;
    begin_section(w);
    write_text(w, "# Tools");
    for (size_t i = 0; i < count && s == STATUS_OK; i++) s = write_namespace(w, sorted[i], detail);
    free(sorted);
    return s;
}

static status finish(const writer *w, status_detail *detail)
{
    return w->failed ? status_fail(detail, STATUS_INTERNAL, "out of memory for the prompt") : STATUS_OK;
}

status harmony_sections_system(const harmony_system *system, bool function_tools, buffer *out, status_detail *detail)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    writer w = {.out = out};
    const char *lines[3][2] = {{"", system->identity},
                               {"Knowledge cutoff: ", system->knowledge_cutoff},
                               {"Current date: ", system->current_date}};
    for (size_t i = 0; i < 3; i++) {
        if (!lines[i][1]) continue;
        write_all(&w, w.has_section ? "\n" : "", lines[i][0], lines[i][1]);
        w.has_section = true;
    }
    if (system->has_effort) {
        begin_section(&w);
        write_all(&w, "Reasoning: ", efforts[system->effort], "");
    }
    STATUS_TRY(write_tools(&w, system->namespaces, system->n_namespaces, detail));
    if (system->n_channels) {
        begin_section(&w);
        write_text(&w, "# Valid channels: ");
        for (size_t i = 0; i < system->n_channels; i++) write_all(&w, i ? ", " : "", system->channels[i], "");
        write_text(&w, ". Channel must be included for every message.");
        if (function_tools) write_text(&w, "\nCalls to these tools must go to the commentary channel: 'functions'.");
    }
    return finish(&w, detail);
}

status harmony_sections_developer(const harmony_developer *developer, buffer *out, status_detail *detail)
{
    writer w = {.out = out};
    w.has_section = developer->instructions != NULL;
    if (w.has_section) write_all(&w, "# Instructions\n\n", developer->instructions, "");
    STATUS_TRY(write_tools(&w, developer->namespaces, developer->n_namespaces, detail));
    return finish(&w, detail);
}
