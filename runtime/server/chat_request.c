#include "runtime/server/chat_request.h"

#include "runtime/server/constraint.h"

#include <stdlib.h>
#include <string.h>

/* Efforts the model does not know are mapped to the nearest it does; "none" cannot be said in its prompt. */
bool chat_request_effort(const json_fields *f, const char *key, chat_request *out)
{
    static const struct {
        const char *name;
        harmony_effort effort;
    } efforts[] = {
        {"minimal", HARMONY_EFFORT_LOW}, {"low", HARMONY_EFFORT_LOW},    {"medium", HARMONY_EFFORT_MEDIUM},
        {"high", HARMONY_EFFORT_HIGH},   {"xhigh", HARMONY_EFFORT_HIGH}, {"max", HARMONY_EFFORT_HIGH},
    };
    const char *name = NULL;
    if (!json_fields_string(f, key, &name, NULL)) return false;
    if (!name) return true;
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
        if (strcmp(name, efforts[i].name)) continue;
        out->effort = efforts[i].effort;
        out->has_effort = true;
        return true;
    }
    if (!strcmp(name, "none")) return json_fields_fail(f, key, "this model always reasons; the least is \"low\".");
    return json_fields_fail(f, key, "\"low\", \"medium\" or \"high\" is expected, not \"%.40s\".", name);
}

static bool is_date(const char *text)
{
    static const char form[] = "dddd-dd-dd";
    for (size_t i = 0; i < sizeof form; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i]) return false;
    }
    return true;
}

bool chat_request_date(const json_fields *f, chat_request *out)
{
    if (!json_fields_string(f, "current_date", &out->date, NULL)) return false;
    return !out->date || is_date(out->date) ? true : json_fields_fail(f, "current_date", "a date as YYYY-MM-DD is expected.");
}

static bool parse_prompt_fields(const json_fields *f, chat_request *out)
{
    const json_t *template_args = NULL;
    if (!json_fields_array(f, "messages", &out->messages) || !json_fields_object(f, "chat_template_kwargs", &template_args)) return false;
    if (!json_array_size(out->messages)) return json_fields_fail(f, "messages", "at least one message is required.");
    json_fields g = {template_args, "chat_template_kwargs", f->error};
    if (template_args && !chat_request_effort(&g, "reasoning_effort", out)) return false;
    if (!chat_request_effort(f, "reasoning_effort", out) || !chat_request_date(f, out)) return false;
    if (!json_fields_bool(f, "add_generation_prompt", &out->add_generation_prompt)) return false;
    return chat_tools_parse(f, CHAT_TOOLS_NESTED, out) && chat_tools_format(f, CHAT_TOOLS_NESTED, out);
}

static bool parse_logprobs(const json_fields *f, chat_request *out)
{
    bool wanted = false;
    int64_t top = 0;
    if (json_is_number(json_fields_get(f, "logprobs"))) /* as /v1/completions has it */
        return json_fields_fail(f, "logprobs", "true or false is expected, not a number; top_logprobs says how many, 0 to %d.", OPS_MAX_TOP_LOGPROBS);
    if (!json_fields_bool(f, "logprobs", &wanted) || !json_fields_int(f, "top_logprobs", 0, OPS_MAX_TOP_LOGPROBS, &top)) return false;
    if (top && !wanted) return json_fields_fail(f, "top_logprobs", "is only allowed when logprobs is true.");
    out->top_logprobs = wanted ? (int)top : -1;
    return true;
}

static bool parse_max_tokens(const json_fields *f, sampling_params *out)
{
    return json_fields_int(f, "max_tokens", 1, INT32_MAX, &out->max_tokens) &&
           json_fields_int(f, "max_completion_tokens", 1, INT32_MAX, &out->max_tokens);
}

static bool parse_body(const json_fields *f, const request_limits *limits, chat_request *out)
{
    static const char *const unsupported[] = {"echo", "continue_final_message", "audio", "chat_template", "documents", "return_prompt_text", "functions", "web_search_options", NULL};
    return json_fields_string(f, "model", &out->model, NULL) && sampling_params_refuse(f, unsupported) &&
           json_fields_bool(f, "include_reasoning", &out->include_reasoning) && json_fields_bool(f, "parallel_tool_calls", &out->parallel_calls) && parse_prompt_fields(f, out) && parse_logprobs(f, out) &&
           sampling_params_parse(f, limits, &out->params) && parse_max_tokens(f, &out->params) &&
           sampling_params_check_length(&out->params, limits->max_model_len, f->error);
}

bool chat_request_parse(json_t *body, const request_limits *limits, chat_request *out, api_error *error)
{
    chat_request request = {.body = body, .include_reasoning = true, .parallel_calls = true, .add_generation_prompt = true};
    json_fields f = {body, "", error};
    if (!parse_body(&f, limits, &request)) {
        chat_request_free(&request);
        return false;
    }
    *out = request;
    return true;
}

void chat_request_free(chat_request *r)
{
    constraint_release(r->constraint);
    sampling_params_free(&r->params);
    free(r->tools.items);
    free(r->tools.names);
    free(r->tools.strict);
    json_decref(r->body);
    *r = (chat_request){0};
}
