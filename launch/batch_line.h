/* The lines of a batch's files: requests in, answers and errors out. Pure, but for memory.
 *
 *   input   {"custom_id", "method": "POST", "url", "body"}
 *   output  {"id": "batch_req_...", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null}
 *   errors  {"id": "batch_req_...", "custom_id" | null, "line", "response" | null, "error": {"code", "message"}}
 *
 * as in OpenAI's Batch API (platform.openai.com/docs/guides/batch), with the number of the input's line added to errors.
 */
#ifndef LAUNCH_BATCH_LINE_H
#define LAUNCH_BATCH_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/server/json_write.h"

/* Both kinds of lines that are written begin so. */
#define BATCH_LINE_START "{\"id\":\"batch_req_"

/* The code of an error line about a line whose custom_id another line had first: it is known by its number. */
#define BATCH_LINE_DUPLICATE "duplicate_custom_id"

typedef struct batch_fault {
    char code[64];
    char message[768];
} batch_fault;

/* Fills in a fault and returns STATUS_INVALID. */
status batch_fault_set(batch_fault *fault, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));

typedef struct batch_request {
    buffer custom_id; /* .data NULL: there is none */
    const char *url;  /* a path of the API, of static life */
    buffer body;      /* JSON */
} batch_request;

void batch_request_clear(batch_request *r);
void batch_request_free(batch_request *r);

/* Reads one input line, editing it. STATUS_INVALID: `fault` says why, and custom_id is there when that much could be read. STATUS_MACHINE: no
 * memory. */
status batch_line_read(char *line, size_t size, batch_request *out, batch_fault *fault);

/* What an answer of the server says. */
typedef struct batch_answer {
    bool good;                                 /* the body is one JSON object */
    int64_t prompt_tokens, completion_tokens;  /* 0 where it does not say */
} batch_answer;

/* Reads a body. When it is an error's, `fault` is filled in from it, otherwise from the HTTP status alone. */
batch_answer batch_answer_read(int http, const char *body, size_t size, batch_fault *fault);

/* Append a line with its newline. `id` names the request, without "batch_req_". A body must be good. */
void batch_line_write_answer(json_writer *w, const char *id, const buffer *custom_id, int http, const char *body, size_t size);
/* `http` 0: there was no answer. A body that is not good is left out. */
void batch_line_write_error(json_writer *w, const char *id, const buffer *custom_id, int64_t line, int http, const char *body, size_t size,
                            const batch_fault *fault);

/* A line that an earlier run wrote. */
typedef struct batch_record {
    bool by_number;    /* it is about a line that is known by its number, not by its custom_id */
    int64_t line;      /* then: which */
    buffer custom_id;  /* else */
} batch_record;

/* False: no line of such a file. custom_id is emptied first and is the caller's to free. */
bool batch_record_read(const char *line, size_t size, batch_record *out);

/* Where errors go when nobody says: OUTPUT with ".errors" before its extension. False: no memory. */
bool batch_line_errors_path(const char *output, buffer *out);

#endif
