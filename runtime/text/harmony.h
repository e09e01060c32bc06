/* Harmony: the prompt format of gpt-oss. Rendering a conversation to token ids, and parsing generated tokens back.
 *
 * Source: openai/harmony `src/encoding.rs` (render, json_schema_to_typescript, StreamableParser), `docs/format.md`.
 * Strings are UTF-8, NUL-terminated where no size is given, and belong to the caller; nothing is kept after a call returns,
 * except where said.
 */
#ifndef RUNTIME_TEXT_HARMONY_H
#define RUNTIME_TEXT_HARMONY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/text/tokenizer.h"

/* A tokenizer with the special tokens of harmony looked up in it. Immutable; keeps a pointer to `t`, which must outlive it. */
typedef struct harmony harmony;

/* STATUS_MODEL, naming the token, when the vocabulary lacks one of the seven formatting tokens. */
status harmony_open(const tokenizer *t, harmony **out, status_detail *detail);
void harmony_close(harmony *h);

/* Ids at which generation ends: <|return|>, <|call|> and, where the vocabulary has it, <|endoftext|>. Returns how many (at most 3). */
int harmony_stop_ids(const harmony *h, int32_t out[3]);

/* ---- rendering ------------------------------------------------------------------------------------------------- */

typedef enum harmony_role { HARMONY_SYSTEM, HARMONY_DEVELOPER, HARMONY_USER, HARMONY_ASSISTANT, HARMONY_TOOL } harmony_role;
typedef enum harmony_effort { HARMONY_EFFORT_LOW, HARMONY_EFFORT_MEDIUM, HARMONY_EFFORT_HIGH } harmony_effort;

typedef struct harmony_tool {
    const char *name;
    const char *description;  /* NULL: none */
    const json_t *parameters; /* JSON schema; NULL or JSON null: takes none. Borrowed; key order is kept. */
} harmony_tool;

typedef struct harmony_namespace {
    const char *name;        /* "functions" for the client's tools */
    const char *description; /* NULL: none */
    const harmony_tool *tools;
    size_t n_tools;
} harmony_namespace;

/* The content of the one system message. {0} is not the default: use harmony_system_default(). */
typedef struct harmony_system {
    const char *identity;         /* NULL: line left out */
    const char *knowledge_cutoff; /* NULL: line left out */
    const char *current_date;     /* YYYY-MM-DD; NULL: line left out */
    bool has_effort;
    harmony_effort effort;
    const char *const *channels;  /* the valid channels; n_channels 0: line left out */
    size_t n_channels;
    const harmony_namespace *namespaces; /* built-in tools */
    size_t n_namespaces;
} harmony_system;

/* "You are ChatGPT, ...", cutoff 2024-06, effort medium, three channels, no date, no built-in tools. */
harmony_system harmony_system_default(void);

typedef struct harmony_developer {
    const char *instructions; /* NULL: none; "" renders an empty section */
    const harmony_namespace *namespaces;
    size_t n_namespaces;
} harmony_developer;

typedef struct harmony_message {
    harmony_role role;
    const char *name;         /* tool: required, e.g. "functions.get_weather"; others: NULL or an author's name */
    const char *recipient;    /* NULL or "all": none */
    const char *channel;      /* NULL: none */
    const char *content_type; /* NULL: none; "<|constrain|>json" is written with the special token */
    const char *text;         /* content of user, assistant and tool messages (and of plain-text system and developer ones) */
    size_t text_size;
    const harmony_system *system;       /* content of a system message, instead of text */
    const harmony_developer *developer; /* content of a developer message, instead of text */
} harmony_message;

/* Appends the prompt: all messages, then <|start|>assistant when `next_assistant`. Analysis before the last final message of the
 * conversation is dropped (docs/format.md "Handling of the chain of thought"). STATUS_INVALID for a message that harmony cannot
 * express (tool without name). */
status harmony_render(const harmony *h, const harmony_message *messages, size_t n_messages, bool next_assistant, id_list *out,
                      status_detail *detail);

/* Appends the TypeScript rendering of a JSON schema, indented as in a top-level parameter. For tests and for rendering. */
bool harmony_schema_typescript(const json_t *schema, buffer *out);

/* ---- parsing --------------------------------------------------------------------------------------------------- */

/* What a message of the model is for. */
typedef enum harmony_kind {
    HARMONY_FINAL,     /* visible answer: channel final, commentary without recipient (a preamble), or no channel */
    HARMONY_ANALYSIS,  /* reasoning; calls to tools nobody declared count as reasoning too */
    HARMONY_TOOL_CALL, /* arguments for the function `recipient` */
} harmony_kind;

/* The header of a message. Strings are NULL when absent and live until the parser sees its next token. */
typedef struct harmony_header {
    harmony_kind kind;
    const char *role;         /* "assistant", ... or a tool's name */
    const char *channel;
    const char *recipient;    /* as the model wrote it; for HARMONY_TOOL_CALL of a declared tool "functions.NAME" is completed */
    const char *function;     /* HARMONY_TOOL_CALL: the function's name without "functions." */
    const char *content_type;
} harmony_header;

/* Called while a token is pushed. Texts are whole UTF-8 characters and add up to the content exactly. */
typedef struct harmony_sink {
    void *user;
    void (*begin)(void *user, const harmony_header *header); /* a header is complete */
    void (*delta)(void *user, const char *text, size_t size); /* never called outside begin..end; size > 0 */
    void (*end)(void *user);                                  /* the message ended, or the stream did */
} harmony_sink;

typedef struct harmony_parser harmony_parser;

typedef struct harmony_parser_options {
    /* true: the stream follows "<|start|>assistant"; false: it begins with <|start|>. */
    bool after_assistant;
    /* Names of declared functions, for recipients without "functions."; borrowed for the parser's life. */
    const char *const *functions;
    size_t n_functions;
} harmony_parser_options;

/* STATUS_INTERNAL only when memory ends. A parser never fails on what a model says: see README.md for the policy. */
status harmony_parser_open(const harmony *h, const harmony_parser_options *options, harmony_sink sink, harmony_parser **out,
                           status_detail *detail);
void harmony_parser_close(harmony_parser *p);
void harmony_parser_push(harmony_parser *p, int32_t id);
/* The end of generation; a message that is still open is ended, a partial header is discarded. */
void harmony_parser_finish(harmony_parser *p);
/* Whether the last token pushed belongs to reasoning (analysis and its header), for usage.reasoning_tokens. */
bool harmony_parser_in_reasoning(const harmony_parser *p);

#endif
