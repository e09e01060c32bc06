#include "runtime/server/responses_request.h"

#include <string.h>

/* The words that `allowed` (ended by NULL) lists; absent is fine. */
static bool parse_word(const json_fields *f, const char *key, const char *const *allowed, const char **out)
{
    if (!json_fields_string(f, key, out, NULL)) return false;
    if (!*out) return true;
    for (const char *const *word = allowed; *word; word++)
        if (!strcmp(*word, *out)) return true;
    return json_fields_fail(f, key, "\"%.40s\" is not known here; \"%s\" would be one that is.", *out, allowed[0]);
}

static bool parse_reasoning(const json_fields *body, responses_request *out)
{
    static const char *const summaries[] = {"auto", "concise", "detailed", NULL};
    const json_t *object = NULL;
    const char *word = NULL;
    if (!json_fields_object(body, "reasoning", &object)) return false;
    json_fields f = {object, "reasoning", body->error};
    if (!object) return true;
    return chat_request_effort(&f, "effort", &out->chat) && parse_word(&f, "summary", summaries, &word) &&
           parse_word(&f, "generate_summary", summaries, &word);
}

static bool parse_text(const json_fields *body, responses_request *out)
{
    const json_t *object = NULL;
    if (!json_fields_object(body, "text", &object)) return false;
    json_fields f = {object, "text", body->error};
    return !object || chat_tools_format(&f, CHAT_TOOLS_FLAT, &out->chat);
}

/* Those that name something this server never makes are accepted: there is nothing to include. */
static bool parse_include(const json_fields *body, responses_request *out)
{
    static const char logprobs[] = "message.output_text.logprobs";
    static const char *const known[] = {
        logprobs, "reasoning.encrypted_content", "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
        "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs", NULL,
    };
    const json_t *list = NULL;
    if (!json_fields_array(body, "include", &list)) return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const char *const *at = known;
        if (!name) return json_fields_fail(body, "include", "an array of strings is expected.");
        while (*at && strcmp(*at, name)) at++;
        if (!*at) return json_fields_fail(body, "include", "\"%.60s\" is not known here; \"%s\" is.", name, logprobs);
        out->logprobs |= *at == logprobs;
    }
    return true;
}

/* The limits OpenAI documents. */
static bool check_metadata(const json_fields *body)
{
    enum { PAIRS = 16, KEY = 64, VALUE = 512 };
    const json_t *object = NULL;
    const char *key;
    json_t *value;
    if (!json_fields_object(body, "metadata", &object)) return false;
    if (json_object_size(object) > PAIRS) return json_fields_fail(body, "metadata", "at most %d pairs are allowed.", PAIRS);
    json_object_foreach((json_t *)object, key, value) {
        if (strlen(key) > KEY) return json_fields_fail(body, "metadata", "a key may have at most %d bytes.", KEY);
        if (!json_is_string(value) || json_string_length(value) > VALUE)
            return json_fields_fail(body, "metadata", "\"%.64s\" must be a string of at most %d bytes.", key, VALUE);
    }
    return true;
}

static bool parse_input(const json_fields *body, responses_request *out)
{
    const json_t *input = json_fields_get(body, "input");
    if (!json_fields_string(body, "previous_response_id", &out->previous, NULL) ||
        !json_fields_string(body, "instructions", &out->instructions, &out->instructions_size))
        return false;
    if (input && !json_is_string(input) && !json_is_array(input))
        return json_fields_fail(body, "input", "a string or an array of items is expected, not %s.", json_fields_type_name(input));
    out->input = json_is_array(input) && !json_array_size(input) ? NULL : input;
    if (!out->input && !out->previous) return json_fields_fail(body, "input", "a string or at least one item is required.");
    return true;
}

static bool parse_switches(const json_fields *body, responses_request *out)
{
    static const char *const truncations[] = {"disabled", "auto", NULL};
    const char *truncation = NULL, *echoed = NULL;
    int64_t calls = 1;
    if (!json_fields_bool(body, "store", &out->store) || !json_fields_bool(body, "background", &out->background) ||
        !json_fields_bool(body, "parallel_tool_calls", &out->chat.parallel_calls) || !parse_word(body, "truncation", truncations, &truncation) ||
        !json_fields_int(body, "max_tool_calls", 1, INT32_MAX, &calls) || !json_fields_string(body, "user", &echoed, NULL) ||
        !json_fields_string(body, "safety_identifier", &echoed, NULL) || !json_fields_string(body, "prompt_cache_key", &echoed, NULL))
        return false;
    out->truncate = truncation && !strcmp(truncation, "auto");
    if (out->background && !out->store) return json_fields_fail(body, "background", "needs store: the answer is fetched later.");
    return true;
}

static bool parse_sampling(const json_fields *body, const request_limits *limits, chat_request *out, bool logprobs)
{
    int64_t top = 0;
    if (!json_fields_int(body, "top_logprobs", 0, OPS_MAX_TOP_LOGPROBS, &top) || !sampling_params_parse(body, limits, &out->params)) return false;
    out->top_logprobs = logprobs ? (int)top : -1;
    if (out->params.n > 1) return json_fields_fail(body, "n", "a response has one answer.");
    return json_fields_int(body, "max_output_tokens", 1, INT32_MAX, &out->params.max_tokens) &&
           sampling_params_check_length(&out->params, limits->max_model_len, body->error);
}

static bool parse_body(const json_fields *body, const request_limits *limits, responses_request *out)
{
    static const char *const unsupported[] = {"conversation", "prompt", "context_management", "moderation", "prompt_logprobs", "previous_response",
                                              "previous_input_messages", "enable_response_messages", NULL};
    return json_fields_string(body, "model", &out->chat.model, NULL) && sampling_params_refuse(body, unsupported) && parse_input(body, out) &&
           parse_reasoning(body, out) && chat_request_date(body, &out->chat) && chat_tools_parse(body, CHAT_TOOLS_FLAT, &out->chat) &&
           parse_text(body, out) && parse_include(body, out) && check_metadata(body) && parse_switches(body, out) &&
           parse_sampling(body, limits, &out->chat, out->logprobs);
}

bool responses_request_parse(json_t *body, const request_limits *limits, responses_request *out, api_error *error)
{
    responses_request request = {.store = true};
    request.chat = (chat_request){.body = body, .include_reasoning = true, .parallel_calls = true, .add_generation_prompt = true, .top_logprobs = -1};
    json_fields f = {body, "", error};
    if (!parse_body(&f, limits, &request)) {
        responses_request_free(&request);
        return false;
    }
    *out = request;
    return true;
}

void responses_request_free(responses_request *r)
{
    chat_request_free(&r->chat);
    *r = (responses_request){0};
}
