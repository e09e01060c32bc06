#include "launch/batch_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/json_body.h"

static const char *const urls[] = {"/v1/chat/completions", "/v1/completions"};
enum { N_URLS = sizeof urls / sizeof *urls };

status batch_fault_set(batch_fault *fault, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fault->message, sizeof fault->message, format, args);
    va_end(args);
    snprintf(fault->code, sizeof fault->code, "%s", code);
    return STATUS_INVALID;
}

void batch_request_clear(batch_request *r)
{
    enum { KEEP = 64 << 10 }; /* a large body's memory is not held on to by each request that could be in flight */
    buffer_free(&r->custom_id);
    if (r->body.capacity > KEEP) buffer_free(&r->body);
    else buffer_clear(&r->body);
    r->url = NULL;
}

void batch_request_free(batch_request *r)
{
    buffer_free(&r->custom_id);
    buffer_free(&r->body);
}

/* ---- input ------------------------------------------------------------------------------------------------------ */

static status read_id(const json_t *line, buffer *out, batch_fault *fault)
{
    const json_t *value = json_object_get(line, "custom_id");
    if (!json_is_string(value) || !json_string_length(value))
        return batch_fault_set(fault, "missing_custom_id", "custom_id must be a text that is not empty%s.", value ? "" : "; it is missing");
    return buffer_append(out, json_string_value(value), json_string_length(value)) ? STATUS_OK : STATUS_MACHINE;
}

static status read_url(const json_t *line, const char **out, batch_fault *fault)
{
    const char *method = json_string_value(json_object_get(line, "method")), *url = json_string_value(json_object_get(line, "url"));
    if (!method || strcmp(method, "POST"))
        return batch_fault_set(fault, "invalid_method", "method must be \"POST\"%s%.40s.", method ? ", found " : "", method ? method : "");
    for (int i = 0; url && i < N_URLS; i++)
        if (!strcmp(url, urls[i])) return *out = urls[i], STATUS_OK;
    return batch_fault_set(fault, "invalid_url", "url must be /v1/chat/completions or /v1/completions%s%.200s.", url ? ", found " : "",
                           url ? url : "");
}

static int append(const char *bytes, size_t size, void *to) { return buffer_append(to, bytes, size) ? 0 : -1; }

static status read_body(const json_t *line, buffer *out, batch_fault *fault)
{
    const json_t *body = json_object_get(line, "body");
    if (!json_is_object(body)) return batch_fault_set(fault, "invalid_body", "body must be an object.");
    const json_t *stream = json_object_get(body, "stream");
    if (stream && !json_is_false(stream) && !json_is_null(stream))
        return batch_fault_set(fault, "stream_not_allowed", "body.stream must be false in a batch.");
    buffer_clear(out);
    return json_dump_callback(body, append, out, JSON_COMPACT) ? STATUS_MACHINE : STATUS_OK;
}

static status read_fields(const json_t *line, batch_request *out, batch_fault *fault)
{
    STATUS_TRY(read_id(line, &out->custom_id, fault));
    STATUS_TRY(read_url(line, &out->url, fault));
    return read_body(line, &out->body, fault);
}

status batch_line_read(char *line, size_t size, batch_request *out, batch_fault *fault)
{
    static const char of_body[] = "The request body ";
    json_t *root;
    api_error error;
    batch_request_clear(out);
    if (!json_body_parse(line, size, &root, &error)) {
        bool about_body = !strncmp(error.message, of_body, sizeof of_body - 1);
        return batch_fault_set(fault, "invalid_json", "%s%s", about_body ? "The line " : "", error.message + (about_body ? sizeof of_body - 1 : 0));
    }
    status result = read_fields(root, out, fault);
    json_decref(root);
    return result;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static int64_t count_of(const json_t *usage, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(usage, key));
    return n > 0 ? n : 0;
}

static void read_fault(const json_t *root, batch_fault *fault)
{
    const json_t *error = json_object_get(root, "error");
    const char *type = json_string_value(json_object_get(error, "type")), *message = json_string_value(json_object_get(error, "message"));
    if (type) snprintf(fault->code, sizeof fault->code, "%s", type);
    if (message) snprintf(fault->message, sizeof fault->message, "%s", message);
}

batch_answer batch_answer_read(int http, const char *body, size_t size, batch_fault *fault)
{
    batch_fault_set(fault, "http_error", "The server answered with HTTP %d.", http);
    json_t *root = json_loadb(body, size, JSON_ALLOW_NUL, NULL);
    batch_answer answer = {.good = json_is_object(root)};
    const json_t *usage = json_object_get(root, "usage");
    answer.prompt_tokens = count_of(usage, "prompt_tokens");
    answer.completion_tokens = count_of(usage, "completion_tokens");
    read_fault(root, fault);
    json_decref(root);
    return answer;
}

/* ---- output ----------------------------------------------------------------------------------------------------- */

static void write_head(json_writer *w, const char *id, const buffer *custom_id)
{
    json_write_format(w, BATCH_LINE_START "%s\",\"custom_id\":", id);
    if (custom_id->data) json_write_string(w, custom_id->data, custom_id->size);
    else json_write_raw(w, "null");
}

/* The bytes of a JSON text, whose newlines can only be white space, in one line. */
static void write_flat(json_writer *w, const char *body, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(body + at, '\n', size - at);
        size_t n = newline ? (size_t)(newline - body) - at : size - at;
        json_write_bytes(w, body + at, n);
        if (newline) json_write_raw(w, " ");
        at += n + (newline != NULL);
    }
}

static void write_response(json_writer *w, const char *id, int http, const char *body, size_t size)
{
    json_write_format(w, ",\"response\":{\"status_code\":%d,\"request_id\":\"%s\",\"body\":", http, id);
    if (size) write_flat(w, body, size);
    else json_write_raw(w, "null");
    json_write_raw(w, "}");
}

void batch_line_write_answer(json_writer *w, const char *id, const buffer *custom_id, int http, const char *body, size_t size)
{
    write_head(w, id, custom_id);
    write_response(w, id, http, body, size);
    json_write_raw(w, ",\"error\":null}\n");
}

void batch_line_write_error(json_writer *w, const char *id, const buffer *custom_id, int64_t line, int http, const char *body, size_t size,
                            const batch_fault *fault)
{
    write_head(w, id, custom_id);
    json_write_format(w, ",\"line\":%" PRId64, line);
    if (http) write_response(w, id, http, body, size);
    else json_write_raw(w, ",\"response\":null");
    json_write_raw(w, ",\"error\":{\"code\":");
    json_write_text(w, fault->code);
    json_write_raw(w, ",\"message\":");
    json_write_text(w, fault->message);
    json_write_raw(w, "}}\n");
}

/* ---- what was written before ------------------------------------------------------------------------------------ */

static bool read_record(const json_t *root, batch_record *out)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    const json_t *custom_id = json_object_get(root, "custom_id"), *error = json_object_get(root, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    if (!id || strncmp(id, "batch_req_", 10) || !json_object_get(root, "response") || !error) return false;
    out->by_number = !json_is_string(custom_id) || (code && !strcmp(code, BATCH_LINE_DUPLICATE));
    out->line = json_integer_value(json_object_get(root, "line"));
    if (out->by_number) return out->line > 0;
    return buffer_append(&out->custom_id, json_string_value(custom_id), json_string_length(custom_id));
}

bool batch_record_read(const char *line, size_t size, batch_record *out)
{
    buffer_clear(&out->custom_id);
    json_t *root = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
    bool good = root && read_record(root, out);
    json_decref(root);
    return good;
}

bool batch_line_errors_path(const char *output, buffer *out)
{
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output, *dot = strrchr(name, '.');
    size_t stem = dot && dot > name ? (size_t)(dot - output) : strlen(output);
    buffer_clear(out);
    return buffer_append(out, output, stem) && buffer_append_text(out, ".errors") && buffer_append_text(out, output + stem);
}
