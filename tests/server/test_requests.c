/* Bodies -> typed requests: what is read, what is refused, and which field the error names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/engine/sequence.h"
#include "runtime/server/chat_request.h"
#include "runtime/server/completion_request.h"
#include "runtime/server/json_body.h"

static const request_limits limits = {1000, 4096};

static bool body_parse(const char *text, json_t **out, api_error *error)
{
    char *copy = strdup(text);
    bool good = json_body_parse(copy, strlen(copy), out, error);
    free(copy);
    return good;
}

static bool chat(const char *text, chat_request *out, api_error *error)
{
    json_t *body;
    return body_parse(text, &body, error) && chat_request_parse(body, &limits, out, error);
}

static bool completion(const char *text, completion_request *out, api_error *error)
{
    json_t *body;
    return body_parse(text, &body, error) && completion_request_parse(body, &limits, out, error);
}

#define M "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

static void test_refused_chat_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text, *param;
        int http;
    } cases[] = {
        {"{}", "messages", 400},
        {"{\"messages\":[]}", "messages", 400},
        {"{\"messages\":\"x\"}", "messages", 400},
        {"{" M ",\"model\":3}", "model", 400},
        {"{" M ",\"temperature\":\"hot\"}", "temperature", 400},
        {"{" M ",\"temperature\":-0.1}", "temperature", 400},
        {"{" M ",\"top_p\":0}", "top_p", 400},
        {"{" M ",\"top_p\":1.01}", "top_p", 400},
        {"{" M ",\"top_k\":-2}", "top_k", 400},
        {"{" M ",\"n\":0}", "n", 400},
        {"{" M ",\"n\":129}", "n", 400},
        {"{" M ",\"n\":1.5}", "n", 400},
        {"{" M ",\"n\":true}", "n", 400},
        {"{" M ",\"max_tokens\":0}", "max_tokens", 400},
        {"{" M ",\"max_completion_tokens\":1e300}", "max_completion_tokens", 400},
        {"{" M ",\"seed\":1e30}", "seed", 400},
        {"{" M ",\"stop\":\"\"}", "stop", 400},
        {"{" M ",\"stop\":[1]}", "stop", 400},
        {"{" M ",\"stop\":{}}", "stop", 400},
        {"{" M ",\"stop_token_ids\":[1000]}", "stop_token_ids", 400},
        {"{" M ",\"stop_token_ids\":[-1]}", "stop_token_ids", 400},
        {"{" M ",\"logit_bias\":{\"1000\":1}}", "logit_bias", 400},
        {"{" M ",\"logit_bias\":{\"a\":1}}", "logit_bias", 400},
        {"{" M ",\"logit_bias\":{\"1\":\"a\"}}", "logit_bias", 400},
        {"{" M ",\"logit_bias\":[1]}", "logit_bias", 400},
        {"{" M ",\"stream\":\"yes\"}", "stream", 400},
        {"{" M ",\"stream_options\":{}}", "stream_options", 400},
        {"{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":1}}", "stream_options.include_usage", 400},
        {"{" M ",\"top_logprobs\":3}", "top_logprobs", 400},
        {"{" M ",\"logprobs\":true,\"top_logprobs\":-2}", "top_logprobs", 400},
        {"{" M ",\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs", 400},
        {"{" M ",\"tools\":[]}", "tools", 400},
        {"{" M ",\"tools\":{}}", "tools", 400},
        {"{" M ",\"tools\":[{\"type\":\"retrieval\"}]}", "tools[0].type", 400},
        {"{" M ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}", "tools[0].function.name", 400},
        {"{" M ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":[]}}]}", "tools[0].function.parameters", 400},
        {"{" M ",\"tool_choice\":\"auto\"}", "tool_choice", 400},
        {"{" M ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}}],\"tool_choice\":\"all\"}", "tool_choice", 400},
        {"{" M ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"strict\":1}}]}", "tools[0].function.strict", 400},
        {"{" M ",\"tool_choice\":\"required\"}", "tool_choice", 400},
        {"{" M ",\"structured_outputs\":[]}", "structured_outputs", 400},
        {"{" M ",\"structured_outputs\":{\"structural_tag\":\"x\"}}", "structured_outputs", 400},
        {"{" M ",\"structured_outputs\":{\"disable_any_whitespace\":true}}", "structured_outputs", 400},
        {"{" M ",\"structured_outputs\":{\"json\":3}}", "structured_outputs.json", 400},
        {"{" M ",\"structured_outputs\":{\"json\":\"{\"}}", "structured_outputs.json", 400},
        {"{" M ",\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}}", "structured_outputs.regex", 400},
        {"{" M ",\"structured_outputs\":{\"choice\":[]}}", "structured_outputs.choice", 400},
        {"{" M ",\"structured_outputs\":{\"choice\":[\"a\",1]}}", "structured_outputs.choice", 400},
        {"{" M ",\"structured_outputs\":{\"grammar\":1}}", "structured_outputs.grammar", 400},
        {"{" M ",\"structured_outputs\":{\"regex\":\"a\"},\"guided_regex\":\"b\"}", "guided_regex", 400},
        {"{" M ",\"guided_json\":[]}", "guided_json", 400},
        {"{" M ",\"guided_choice\":\"a\"}", "guided_choice", 400},
        {"{" M ",\"guided_grammar\":{}}", "guided_grammar", 400},
        {"{" M ",\"guided_regex\":\"a\",\"guided_whitespace_pattern\":\" \"}", "guided_whitespace_pattern", 400},
        {"{" M ",\"allowed_token_ids\":[]}", "allowed_token_ids", 400},
        {"{" M ",\"allowed_token_ids\":[1000]}", "allowed_token_ids", 400},
        {"{" M ",\"bad_words\":[\"a\",3]}", "bad_words", 400},
        {"{" M ",\"bad_words\":[\"  \"]}", "bad_words", 400},
        {"{" M ",\"bad_words\":\"a\"}", "bad_words", 400},
        {"{" M ",\"prompt_logprobs\":-1}", "prompt_logprobs", 400},
        {"{" M ",\"prompt_logprobs\":1,\"stream\":true}", "prompt_logprobs", 400},
        {"{" M ",\"truncate_prompt_tokens\":0}", "truncate_prompt_tokens", 400},
        {"{" M ",\"truncate_prompt_tokens\":-2}", "truncate_prompt_tokens", 400},
        {"{" M ",\"use_beam_search\":true}", "use_beam_search", 400},
        {"{" M ",\"cache_salt\":\"x\"}", "cache_salt", 400},
        {"{" M ",\"return_token_ids\":true}", "return_token_ids", 400},
        {"{" M ",\"chat_template\":\"x\"}", "chat_template", 400},
        {"{" M ",\"request_id\":4}", "request_id", 400},
        {"{" M ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"b\"}}}", "tool_choice.function.name", 400},
        {"{" M ",\"response_format\":{\"type\":\"json_schema\"}}", "response_format.json_schema", 400},
        {"{" M ",\"response_format\":{\"type\":\"xml\"}}", "response_format.type", 400},
        {"{" M ",\"response_format\":\"json\"}", "response_format", 400},
        {"{" M ",\"reasoning_effort\":\"none\"}", "reasoning_effort", 400},
        {"{" M ",\"reasoning_effort\":3}", "reasoning_effort", 400},
        {"{" M ",\"current_date\":\"today\"}", "current_date", 400},
        {"{" M ",\"continue_final_message\":true}", "continue_final_message", 400},
        {"{" M ",\"top_p\":1e-35}", "top_p", 400},
        {"{" M ",\"top_p\":1e-320}", "top_p", 400},
        {"{" M ",\"repetition_penalty\":1e300}", "repetition_penalty", 400},
        {"{" M ",\"min_tokens\":6,\"max_tokens\":5}", "min_tokens", 400},
        {"{" M ",\"min_tokens\":6,\"max_tokens\":50,\"max_completion_tokens\":5}", "min_tokens", 400},
        {"{" M ",\"min_tokens\":4097}", "min_tokens", 400},
        {"{" M ",\"model\":\"a\\u0000b\"}", "model", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        chat_request request;
        api_error error = {0};
        if (chat(cases[i].text, &request, &error)) fail_msg("%s was taken", cases[i].text);
        if (strcmp(error.param, cases[i].param) || error.http != cases[i].http)
            fail_msg("%s: %d about \"%s\" (%s), wanted %d about \"%s\"", cases[i].text, error.http, error.param, error.message, cases[i].http, cases[i].param);
        assert_true(strlen(error.message) > 10);
    }
}

static void test_null_and_unknown_fields_mean_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = {"model", "temperature", "top_p", "top_k", "min_p", "n", "max_tokens", "max_completion_tokens", "seed", "stop", "stop_token_ids", "logit_bias", "stream", "stream_options", "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "reasoning_effort", "user", "presence_penalty", "frequency_penalty", "repetition_penalty", "parallel_tool_calls", "never_heard_of", "include_reasoning", "min_tokens", "ignore_eos", "store", "metadata", "chat_template_kwargs", "current_date", "priority",
        "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "allowed_token_ids", "bad_words", "prompt_logprobs", "truncate_prompt_tokens", "request_id", "cache_salt", "return_token_ids", "chat_template"};
    buffer text = {0};
    assert_true(buffer_append_text(&text, "{" M));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) assert_true(buffer_printf(&text, ",\"%s\":null", keys[i]));
    assert_true(buffer_append_text(&text, "}"));
    chat_request request;
    api_error error = {0};
    if (!chat(text.data, &request, &error)) fail_msg("%s", error.message);
    assert_true(request.params.sampling.temperature == 1 && request.params.sampling.top_p == 1 && request.params.sampling.repetition_penalty == 1);
    assert_int_equal(request.params.n, 1);
    assert_int_equal(request.params.max_tokens, -1);
    assert_int_equal(request.top_logprobs, -1);
    assert_true(request.params.skip_special && request.include_reasoning && !request.params.stream && !request.params.has_seed);
    chat_request_free(&request);
    buffer_free(&text);
}

static void test_chat_fields_are_read(void **state)
{
    (void)state;
    chat_request r;
    api_error error = {0};
    const char *text = "{" M ",\"temperature\":0,\"top_k\":-1,\"min_p\":0.25,\"n\":2.0,\"max_tokens\":5,\"max_completion_tokens\":7,\"seed\":-1,"
                       "\"stop\":[\"a\",\"b\\u0000c\"],\"stop_token_ids\":[5,6],\"logit_bias\":{\"5\":-1000,\"6\":1.5},\"stream\":true,"
                       "\"stream_options\":{},\"logprobs\":true,\"top_logprobs\":4,\"reasoning_effort\":\"high\",\"current_date\":\"2025-01-31\","
                       "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{}}}]}";
    if (!chat(text, &r, &error)) fail_msg("%s", error.message);
    assert_true(r.params.sampling.temperature == 0 && r.params.sampling.min_p == 0.25f);
    assert_int_equal(r.params.sampling.top_k, 0);
    assert_int_equal(r.params.n, 2);
    assert_int_equal(r.params.max_tokens, 7);
    assert_true(r.params.has_seed && r.params.seed == UINT64_MAX);
    assert_int_equal(r.params.stops.n, 2);
    assert_int_equal(r.params.stops.strings[1].size, 3);
    assert_int_equal(r.params.n_stop_ids, 2);
    assert_int_equal(r.params.sampling.n_bias, 2);
    assert_true(r.params.sampling.bias_values[0] == -100 && r.params.sampling.bias_values[1] == 1.5f);
    assert_true(r.params.stream && r.params.include_usage && !r.params.continuous_usage);
    assert_int_equal(r.top_logprobs, 4);
    assert_true(r.has_effort && r.effort == HARMONY_EFFORT_HIGH);
    assert_string_equal(r.date, "2025-01-31");
    assert_true(r.tools.n == 1 && r.tools.offered && !strcmp(r.tools.names[0], "f"));
    chat_request_free(&r);
}

static void test_tools_and_their_choice(void **state)
{
    (void)state;
    chat_request r;
    api_error error = {0};
#define TOOLS ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\",\"strict\":true}}]"
    if (!chat("{" M TOOLS "}", &r, &error)) fail_msg("%s", error.message);
    assert_true(r.tools.choice == CHAT_CHOICE_AUTO && !r.tools.strict[0] && r.tools.strict[1]);
    chat_request_free(&r);
    if (!chat("{" M TOOLS ",\"tool_choice\":\"required\"}", &r, &error)) fail_msg("%s", error.message);
    assert_true(r.tools.choice == CHAT_CHOICE_REQUIRED && r.tools.offered);
    chat_request_free(&r);
    if (!chat("{" M TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}", &r, &error)) fail_msg("%s", error.message);
    assert_true(r.tools.choice == CHAT_CHOICE_NAMED && r.tools.named == 1);
    chat_request_free(&r);
    if (!chat("{" M TOOLS ",\"tool_choice\":\"none\"}", &r, &error)) fail_msg("%s", error.message);
    assert_true(!r.tools.offered);
    chat_request_free(&r);
#undef TOOLS
}

/* One way to say it or another: the same source comes out. */
static void test_structured_outputs_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        constraint_kind kind;
        const char *value, *param;
        bool compact;
    } cases[] = {
        {"\"structured_outputs\":{\"json\":{\"type\":\"null\"}}", CONSTRAINT_SCHEMA, "{\"type\":\"null\"}", "structured_outputs.json", false},
        {"\"structured_outputs\":{\"json\":\"{\\\"type\\\": \\\"null\\\"}\"}", CONSTRAINT_SCHEMA, "{\"type\":\"null\"}", "structured_outputs.json", false},
        {"\"guided_json\":{\"type\":\"null\"},\"structured_outputs\":null", CONSTRAINT_SCHEMA, "{\"type\":\"null\"}", "guided_json", false},
        {"\"structured_outputs\":{\"json_object\":true,\"regex\":null}", CONSTRAINT_JSON_OBJECT, NULL, "structured_outputs.json_object", false},
        {"\"structured_outputs\":{\"json_object\":true,\"disable_any_whitespace\":true}", CONSTRAINT_JSON_OBJECT, NULL, "structured_outputs.json_object", true},
        {"\"structured_outputs\":{\"choice\":[\"a\",\"b\"]}", CONSTRAINT_CHOICE, "[\"a\",\"b\"]", "structured_outputs.choice", false},
        {"\"guided_choice\":[\"a\"]", CONSTRAINT_CHOICE, "[\"a\"]", "guided_choice", false},
        {"\"structured_outputs\":{\"regex\":\"a+\"}", CONSTRAINT_REGEX, "a+", "structured_outputs.regex", false},
        {"\"guided_regex\":\"a+\"", CONSTRAINT_REGEX, "a+", "guided_regex", false},
        {"\"structured_outputs\":{\"grammar\":\"root ::= x\",\"disable_fallback\":true}", CONSTRAINT_EBNF, "root ::= x", "structured_outputs.grammar", false},
        {"\"guided_grammar\":\"root ::= x\"", CONSTRAINT_EBNF, "root ::= x", "guided_grammar", false},
        {"\"response_format\":{\"type\":\"json_object\"}", CONSTRAINT_JSON_OBJECT, NULL, "response_format", false},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{}}}", CONSTRAINT_SCHEMA, "{}", "response_format.json_schema.schema", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[400];
        completion_request r;
        api_error error = {0};
        snprintf(text, sizeof text, "{\"prompt\":\"x\",%s}", cases[i].text);
        if (!completion(text, &r, &error)) fail_msg("%s: %s", text, error.message);
        const structured_output *s = &r.params.structured;
        assert_true(s->given && s->source.kind == cases[i].kind && s->source.compact == cases[i].compact);
        assert_string_equal(s->param, cases[i].param);
        char *json = s->source.json ? json_dumps(s->source.json, JSON_COMPACT) : NULL;
        if (json) assert_string_equal(json, cases[i].value);
        else if (cases[i].value) assert_true(s->source.size == strlen(cases[i].value) && !memcmp(s->source.text, cases[i].value, s->source.size));
        free(json);
        completion_request_free(&r);
    }
}

/* Every value that the server lets through is one that the engine takes, down to the last float. */
static void test_server_and_engine_agree_on_ranges(void **state)
{
    (void)state;
    const sequence_limits engine_limits = {.vocab = 1000, .max_model_len = 4096, .block_tokens = 16};
    const int32_t prompt[] = {1};
    int n, taken = 0;
    const engine_range *ranges = engine_sampling_ranges(&n);
    assert_true(n > 3);
    for (int i = 0; i < n; i++) {
        float low = ranges[i].min, high = ranges[i].max;
        double values[] = {low, high, nextafterf(low, -INFINITY), nextafterf(low, INFINITY), nextafterf(high, -INFINITY), nextafterf(high, INFINITY),
                           nextafter(low, -INFINITY), nextafter(high, INFINITY), 0, -0.0, 1e-3, 1e-30, 1e-35, 1.17e-38, 1e-50, -1e-50, 1e300, -1e300};
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            char text[128];
            completion_request r;
            api_error error = {0};
            snprintf(text, sizeof text, "{\"prompt\":\"x\",\"%s\":%.17e}", ranges[i].name, values[k]);
            bool inside = (float)values[k] >= low && (float)values[k] <= high;
            if (completion(text, &r, &error) != inside) fail_msg("%s: %s", text, inside ? error.message : "taken");
            if (!inside) {
                assert_string_equal(error.param, ranges[i].name);
                continue;
            }
            sequence *seq;
            status_detail detail = {""};
            engine_request q = {.prompt = prompt, .n_prompt = 1, .max_tokens = 1, .sampling = r.params.sampling, .top_logprobs = -1, .prompt_logprobs = -1};
            if (sequence_create(&q, &engine_limits, &seq, &detail) != STATUS_OK) fail_msg("%s: the engine says %s", text, detail.text);
            sequence_free(seq);
            completion_request_free(&r);
            taken++;
        }
    }
    assert_true(taken > n);
}

static void test_min_tokens_fit_the_answer(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{\"prompt\":\"x\",\"min_tokens\":16}", true},  {"{\"prompt\":\"x\",\"min_tokens\":17}", false}, /* the default is 16 */
        {"{\"prompt\":\"x\",\"min_tokens\":30,\"max_tokens\":30}", true},
        {"{\"prompt\":\"x\",\"min_tokens\":31,\"max_tokens\":30}", false},
        {"{\"prompt\":\"x\",\"min_tokens\":31,\"max_tokens\":null}", true},
        {"{\"prompt\":\"x\",\"min_tokens\":1,\"max_tokens\":0}", false},
        {"{\"prompt\":\"x\",\"min_tokens\":5000,\"max_tokens\":6000}", false}, /* longer than the model */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        completion_request r;
        api_error error = {0};
        if (completion(cases[i].text, &r, &error) != cases[i].good) fail_msg("%s: %s", cases[i].text, cases[i].good ? error.message : "taken");
        if (cases[i].good) completion_request_free(&r);
        else assert_string_equal(error.param, "min_tokens");
    }
}

/* What is out of range is said with the field and with what is allowed. */
static void test_messages_say_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        bool chat;
        const char *text, *param, *says;
    } cases[] = {
        {true, "{" M ",\"logprobs\":true,\"top_logprobs\":-1}", "top_logprobs", "-1 is out of range, allowed is 0 to 20"},
        {true, "{" M ",\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs", "21 is out of range, allowed is 0 to 20"},
        {true, "{" M ",\"top_logprobs\":-1}", "top_logprobs", "0 to 20"},
        {true, "{" M ",\"logprobs\":-1}", "logprobs", "top_logprobs says how many, 0 to 20"},
        {true, "{" M ",\"logprobs\":5}", "logprobs", "0 to 20"},
        {false, "{\"prompt\":\"x\",\"logprobs\":-1}", "logprobs", "-1 is out of range, allowed is 0 to 20"},
        {false, "{\"prompt\":\"x\",\"logprobs\":21}", "logprobs", "21 is out of range, allowed is 0 to 20"},
        {false, "{\"prompt\":\"x\",\"logprobs\":true}", "logprobs", "an integer is expected, not a boolean"},
        {false, "{\"prompt\":\"x\",\"top_p\":1e-35}", "top_p", "1e-35 is out of range, allowed is 1e-30 to 1"},
        {false, "{\"prompt\":\"x\",\"min_tokens\":20}", "min_tokens", "20 is too large, at most 16"},
        /* ids keep the number that was sent, whatever it is */
        {false, "{\"prompt\":[4294967295]}", "prompt", "4294967295 is not a token id of this model (0 to 999)"},
        {false, "{\"prompt\":[1,18446744073709551]}", "prompt", "18446744073709551 is not"},
        {false, "{\"prompt\":[[1],[9223372036854775807]]}", "prompt", "9223372036854775807 is not"},
        {false, "{\"prompt\":[-9223372036854775808]}", "prompt", "-9223372036854775808 is not"},
        {false, "{\"prompt\":[1e12]}", "prompt", "not 1000000000000."},
        {false, "{\"prompt\":[18446744073709551616]}", "", "18446744073709551616"},
        {false, "{\"prompt\":\"x\",\"stop_token_ids\":[1,4294967297]}", "stop_token_ids", "4294967297 is not a token id of this model (0 to 999)"},
        {false, "{\"prompt\":\"x\",\"stop_token_ids\":[\"a\"]}", "stop_token_ids", "not a string"},
        {false, "{\"prompt\":\"x\",\"logit_bias\":{\"4294967297\":1}}", "logit_bias", "\"4294967297\" is not"},
        {false, "{\"prompt\":\"x\",\"logit_bias\":{\"18446744073709551617\":1}}", "logit_bias", "\"18446744073709551617\" is not"},
        {false, "{\"prompt\":\"x\",\"allowed_token_ids\":[4294967297]}", "allowed_token_ids", "4294967297 is not a token id of this model (0 to 999)"},
        {false, "{\"prompt\":\"x\",\"best_of\":2,\"n\":3}", "best_of", "less than n, which is 3"},
        {false, "{\"prompt\":\"x\",\"best_of\":2,\"stream\":true}", "best_of", "stream is true"},
        {false, "{\"prompt\":\"x\",\"response_format\":{\"type\":\"json_object\"},\"guided_regex\":\"a\"}", "response_format", "only one of"},
        {false, "{\"prompt\":\"x\",\"response_format\":{\"type\":\"json_schema\"}}", "response_format.json_schema", "is required"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        chat_request c;
        completion_request r;
        api_error error = {0};
        if (cases[i].chat ? chat(cases[i].text, &c, &error) : completion(cases[i].text, &r, &error)) fail_msg("%s was taken", cases[i].text);
        if (strcmp(error.param, cases[i].param) || !strstr(error.message, cases[i].says))
            fail_msg("%s: about \"%s\": %s", cases[i].text, error.param, error.message);
    }
}

static void test_completion_prompts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n; /* prompts; 0: refused */
    } cases[] = {
        {"{\"prompt\":\"x\"}", 1},      {"{\"prompt\":[\"x\",\"y\"]}", 2},  {"{\"prompt\":[1,2,3]}", 1}, {"{\"prompt\":[[1],[2,3]]}", 2},
        {"{\"prompt\":\"\"}", 0},       {"{\"prompt\":[]}", 0},             {"{\"prompt\":[[]]}", 0},    {"{\"prompt\":[1,\"x\"]}", 0},
        {"{\"prompt\":[1000]}", 0},     {"{\"prompt\":[-1]}", 0},           {"{\"prompt\":[1.5]}", 0},   {"{\"prompt\":{}}", 0},
        {"{\"prompt\":null}", 0},       {"{\"prompt\":[null]}", 0},         {"{\"prompt\":[[1],\"x\",[[2]]]}", 0}, {"{}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        completion_request r;
        api_error error = {0};
        bool good = completion(cases[i].text, &r, &error);
        if (good != (cases[i].n > 0)) fail_msg("%s: %s", cases[i].text, good ? "taken" : error.message);
        if (!good) assert_string_equal(error.param, "prompt");
        if (!good) continue;
        assert_int_equal(r.n_prompts, cases[i].n);
        assert_int_equal(r.params.max_tokens, 16);
        completion_request_free(&r);
    }
}

static void test_bodies_that_are_no_objects(void **state)
{
    (void)state;
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    const char *const texts[] = {"", "[]", "3", "{", "{\"a\":}", "\"x\"", "{\"a\":1}x", "{\"a\":\"\xff\"}", "{\"a\":99999999999999999999}", "{\"a\":1e999}", "{\"\\u0000\":1}", deep};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *body;
        api_error error = {0};
        if (body_parse(texts[i], &body, &error)) fail_msg("%s was taken", texts[i]);
        assert_int_equal(error.http, 400);
    }
    free(deep);
}

static void test_lone_surrogates_are_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"\\ud800", "\xEF\xBF\xBD"},
        {"a\\udc00b", "a\xEF\xBF\xBD" "b"},
        {"\\ud83d\\ude00", "\xF0\x9F\x98\x80"},
        {"\\uD83D\\uD83D\\uDE00", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
        {"\\ud800x\\udfff", "\xEF\xBF\xBDx\xEF\xBF\xBD"},
        {"\\\\ud800", "\\ud800"},
        {"\\ud800\\\\udc00", "\xEF\xBF\xBD\\udc00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        json_t *body;
        api_error error = {0};
        snprintf(text, sizeof text, "{\"a\":\"%s\"}", cases[i].json);
        if (!body_parse(text, &body, &error)) fail_msg("%s: %s", text, error.message);
        assert_string_equal(json_string_value(json_object_get(body, "a")), cases[i].text);
        json_decref(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_chat_fields),        cmocka_unit_test(test_null_and_unknown_fields_mean_nothing),
        cmocka_unit_test(test_chat_fields_are_read),       cmocka_unit_test(test_completion_prompts),
        cmocka_unit_test(test_server_and_engine_agree_on_ranges), cmocka_unit_test(test_min_tokens_fit_the_answer),
        cmocka_unit_test(test_messages_say_what_is_allowed),
        cmocka_unit_test(test_tools_and_their_choice),     cmocka_unit_test(test_structured_outputs_are_read),
        cmocka_unit_test(test_bodies_that_are_no_objects), cmocka_unit_test(test_lone_surrogates_are_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
