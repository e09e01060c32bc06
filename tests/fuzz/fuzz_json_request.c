/* The bodies of the generating endpoints: any bytes end in a request, and a chat's in harmony messages, or in an error that names itself. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat_prompt.h"
#include "runtime/server/completion_request.h"
#include "runtime/server/json_body.h"
#include "runtime/server/responses_items.h"
#include "runtime/server/responses_prompt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const api_error *error)
{
    if (error->http < 400 || error->http > 501 || error->http == 500 || !*error->message) abort();
    json_writer w = {0};
    api_error_write(&w, error);
    json_t *again = json_loadb(w.text.data, w.text.size, 0, NULL);
    if (!again) abort(); /* whatever the client sent, the answer is JSON */
    json_decref(again);
    json_write_free(&w);
}

static void try_chat(json_t *body, const request_limits *limits)
{
    chat_request request;
    prompt_messages prompt;
    api_error error = {0};
    if (!chat_request_parse(json_incref(body), limits, &request, &error)) {
        check_error(&error);
        return;
    }
    if (chat_prompt_build(&request, "2026-01-02", &prompt, &error)) {
        if (!prompt.n || prompt.messages[0].role != HARMONY_SYSTEM) abort();
        prompt_free(&prompt);
    } else {
        check_error(&error);
    }
    chat_request_free(&request);
}

static void try_completion(json_t *body, const request_limits *limits)
{
    completion_request request;
    api_error error = {0};
    if (!completion_request_parse(json_incref(body), limits, &request, &error)) {
        check_error(&error);
        return;
    }
    if (request.n_prompts < 1) abort();
    completion_request_free(&request);
}

/* What is kept of a request must be JSON again, and give the same number of messages. */
static void try_kept(const responses_request *request, const json_t *items, size_t n_messages)
{
    json_writer kept = {0};
    prompt_messages prompt;
    api_error error = {0};
    json_write_raw(&kept, "[");
    responses_items_write(items, 0, &kept);
    json_write_raw(&kept, "]");
    json_t *again = json_loadb(kept.text.data, kept.text.size, JSON_ALLOW_NUL, NULL);
    if (!again || json_array_size(again) != json_array_size(items)) abort();
    if (!responses_prompt_build(request, again, 0, 0, "2026-01-02", &prompt, &error) || prompt.n != n_messages) abort();
    prompt_free(&prompt);
    json_decref(again);
    json_write_free(&kept);
}

static json_t *find_nothing(void *user, const char *id)
{
    (void)user;
    (void)id;
    return NULL;
}

static void try_response(json_t *body, const request_limits *limits)
{
    responses_request request;
    prompt_messages prompt;
    api_error error = {0};
    if (!responses_request_parse(json_incref(body), limits, &request, &error)) {
        check_error(&error);
        return;
    }
    json_t *items = json_array();
    if (responses_items_append(&request, items, &error) && responses_items_resolve(items, 0, find_nothing, NULL, &error) &&
        responses_prompt_build(&request, items, 0, 0, "2026-01-02", &prompt, &error)) {
        if (!prompt.n || prompt.messages[0].role != HARMONY_SYSTEM) abort();
        try_kept(&request, items, prompt.n);
        prompt_free(&prompt);
        if (!responses_prompt_build(&request, items, 0, responses_prompt_most(items), "2026-01-02", &prompt, &error)) abort();
        prompt_free(&prompt);
    } else {
        check_error(&error);
    }
    json_decref(items);
    responses_request_free(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const request_limits limits = {201088, 131072};
    json_t *body = NULL;
    api_error error = {0};
    char *copy = malloc(size + 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    if (json_body_parse(copy, size, &body, &error)) {
        try_chat(body, &limits);
        try_completion(body, &limits);
        try_response(body, &limits);
        json_decref(body);
    } else {
        check_error(&error);
    }
    free(copy);
    return 0;
}
