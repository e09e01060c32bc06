/* API messages -> harmony messages, written out one a line: role[:name][>recipient][@channel][ type]|text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/chat_effort.h"
#include "runtime/server/chat_prompt.h"
#include "runtime/server/json_body.h"

static const request_limits limits = {1000, 4096};

static void describe(const harmony_message *m, buffer *out)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    static const char *const efforts[] = {"low", "medium", "high"};
    buffer_printf(out, "%s%s%s%s%s%s%s%s%s|", roles[m->role], m->name ? ":" : "", m->name ? m->name : "", m->recipient ? ">" : "",
                  m->recipient ? m->recipient : "", m->channel ? "@" : "", m->channel ? m->channel : "", m->content_type ? " " : "",
                  m->content_type ? m->content_type : "");
    if (m->system) buffer_printf(out, "%s %s", efforts[m->system->effort], m->system->current_date);
    if (m->developer) {
        buffer_printf(out, "%s", m->developer->instructions ? m->developer->instructions : "(none)");
        for (size_t i = 0; i < m->developer->n_namespaces; i++)
            for (size_t k = 0; k < m->developer->namespaces[i].n_tools; k++)
                buffer_printf(out, " +%s.%s", m->developer->namespaces[i].name, m->developer->namespaces[i].tools[k].name);
    }
    if (!m->system && !m->developer) buffer_append(out, m->text, m->text_size);
    buffer_append_text(out, "\n");
}

/* The description of the prompt, or "!param". The caller frees it. */
static char *build(const char *text)
{
    char *copy = strdup(text);
    json_t *body;
    api_error error = {0};
    buffer out = {0};
    chat_request request;
    prompt_messages prompt;
    if (!json_body_parse(copy, strlen(copy), &body, &error) || !chat_request_parse(body, &limits, &request, &error)) {
        buffer_printf(&out, "!%s", error.param);
    } else {
        if (chat_prompt_build(&request, "2026-01-02", &prompt, &error)) {
            for (size_t i = 0; i < prompt.n; i++) describe(&prompt.messages[i], &out);
            prompt_free(&prompt);
        } else {
            buffer_printf(&out, "!%s", error.param);
        }
        chat_request_free(&request);
    }
    free(copy);
    return out.data;
}

typedef struct prompt_case {
    const char *body, *wanted;
} prompt_case;

static void check(const prompt_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *found = build(cases[i].body);
        if (strcmp(found, cases[i].wanted)) fail_msg("%s\nfound:\n%s\nwanted:\n%s", cases[i].body, found, cases[i].wanted);
        free(found);
    }
}
#define CHECK(cases) check(cases, sizeof cases / sizeof cases[0])

#define S "system|medium 2026-01-02\n"
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

static void test_roles(void **state)
{
    (void)state;
    static const prompt_case cases[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", S "user|hi\n"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"developer\",\"content\":\"B\"},{\"role\":\"user\",\"content\":\"hi\"}]}",
         S "developer|A\n\nB\nuser|hi\n"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"system\",\"content\":\"late\"},{\"role\":\"user\",\"content\":\"yo\"}]," TOOL "}",
         S "developer|(none) +functions.f\nuser|hi\ndeveloper|late\nuser|yo\n"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"A\"}]," TOOL "}", S "developer|A +functions.f\n"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"A\"}]," TOOL ",\"tool_choice\":\"none\"}", S "developer|A\n"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}", S "user|ab\n"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"current_date\":\"2025-06-28\",\"reasoning_effort\":\"low\"}", "system|low 2025-06-28\nuser|hi\n"},
    };
    CHECK(cases);
}

static void test_calls_and_results(void **state)
{
    (void)state;
    static const prompt_case cases[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"w\"},{\"role\":\"assistant\",\"content\":\"wait\",\"reasoning\":\"r\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"sun\"},{\"role\":\"assistant\",\"content\":\"fine\",\"reasoning_content\":\"q\"}]}",
         S "user|w\nassistant@analysis|r\nassistant@commentary|wait\nassistant>functions.f@commentary json|{}\ntool:functions.f>assistant@commentary|sun\nassistant@analysis|q\nassistant@final|fine\n"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"g\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"1\"}]}]}",
         S "assistant>functions.g@commentary json|{\"a\":1}\ntool:functions.g>assistant@commentary|1\n"},
        {"{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"1\"}]}", "!messages[0].tool_call_id"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"1\"}]}", "!messages[0].tool_call_id"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"a b\"}}]}]}", "!messages[0].tool_calls[0].function.name"},
    };
    CHECK(cases);
}

static void test_faults_name_their_place(void **state)
{
    (void)state;
    static const prompt_case cases[] = {
        {"{\"messages\":[3]}", "!messages[0]"},
        {"{\"messages\":[{\"content\":\"x\"}]}", "!messages[0].role"},
        {"{\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}", "!messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", "!messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":3}]}", "!messages[0].content"},
        {"{\"messages\":[{\"role\":\"assistant\"}]}", "!messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "!messages[0].content[0].type"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":4}]}]}", "!messages[0].content[0].text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}", "!messages[0].content[0]"},
    };
    CHECK(cases);
}

static void test_response_formats_end_the_instructions(void **state)
{
    (void)state;
    static const prompt_case cases[] = {
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"A\"}],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"list\",\"description\":\"d\",\"schema\":{\"type\":\"object\"}}}}",
         S "developer|A\n\n# Response Formats\n\n## list\n\n// d\n{\"type\":\"object\"}\n"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"response_format\":{\"type\":\"json_object\"}}",
         S "developer|# Response Formats\n\n## json_object\n\n{\"type\":\"object\"}\nuser|x\n"},
    };
    CHECK(cases);
}

static void test_effort_in_a_system_message(void **state)
{
    (void)state;
    static const struct {
        const char *text, *left;
        int effort; /* -1: none */
    } cases[] = {
        {"Reasoning: high", "", 2},
        {"reasoning:LOW\n", "", 0},
        {"You are kind.\n\nReasoning: high\n\nBe brief.", "You are kind.\n\nBe brief.", 2},
        {"You are kind.\nReasoning: high", "You are kind.", 2},
        {"Reasoning: medium\nBe brief.", "Be brief.", 1},
        {"You are kind. Reasoning: high", "You are kind. Reasoning: high", 2},
        {"Reasoning: high-level only", "Reasoning: high-level only", -1},
        {"Unreasoning: high", "Unreasoning: high", -1},
        {"Reasoning: higher", "Reasoning: higher", -1},
        {"Reasoning:", "Reasoning:", -1},
        {"  Reasoning :  high \r\nx", "x", 2},
        {"a\n\n\nb", "a\n\n\nb", -1},
        {"", "", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer out = {0};
        bool found = false;
        harmony_effort effort = HARMONY_EFFORT_MEDIUM;
        assert_true(chat_effort_extract(cases[i].text, strlen(cases[i].text), &found, &effort, &out));
        if ((found ? (int)effort : -1) != cases[i].effort) fail_msg("%s: found %d", cases[i].text, found ? (int)effort : -1);
        assert_string_equal(out.data ? out.data : "", cases[i].left);
        buffer_free(&out);
    }
    static const prompt_case prompts[] = {
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"Reasoning: high\"},{\"role\":\"user\",\"content\":\"x\"}]}", "system|high 2026-01-02\nuser|x\n"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"system\",\"content\":\"Reasoning: low\"}]}", "system|low 2026-01-02\ndeveloper|A\n"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"Reasoning: high\"}],\"reasoning_effort\":\"low\"}", "system|low 2026-01-02\n"},
    };
    CHECK(prompts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_calls_and_results),
        cmocka_unit_test(test_faults_name_their_place),
        cmocka_unit_test(test_response_formats_end_the_instructions),
        cmocka_unit_test(test_effort_in_a_system_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
