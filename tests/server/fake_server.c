/* The real server over the fake engine, for tests in Python.
 *
 * fake_server VOCABULARY [key=value ...]; prints {"port": N}. Then each line of standard input is an order, answered by one line:
 * {"set": {...}} (see fake_engine.h), {"report": true}, {"forget": true}, {"close": seconds}. The end of input closes at once.
 * Keys: max_model_len, max_responses, max_body, keys (a file), head_seconds, body_seconds, idle_seconds, max_backlog, max_connections.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/server/server_internal.h"
#include "tests/server/fake_engine.h"

typedef struct flags {
    const char *keys;
    int max_model_len;
    int64_t max_responses;
    http_limits limits;
} flags;

static bool read_flag(const char *argument, flags *out)
{
    const char *equals = strchr(argument, '=');
    if (!equals) return false;
    size_t n = (size_t)(equals - argument);
    double number = strtod(equals + 1, NULL);
#define IS(name) (n == strlen(name) && !strncmp(argument, name, n))
    if (IS("keys")) out->keys = equals + 1;
    else if (IS("max_model_len")) out->max_model_len = (int)number;
    else if (IS("max_responses")) out->max_responses = (int64_t)number;
    else if (IS("max_body")) out->limits.max_body = (int64_t)number;
    else if (IS("max_backlog")) out->limits.max_backlog = (size_t)number;
    else if (IS("max_connections")) out->limits.max_connections = (int)number;
    else if (IS("head_seconds")) out->limits.head_seconds = number;
    else if (IS("body_seconds")) out->limits.body_seconds = number;
    else if (IS("idle_seconds")) out->limits.idle_seconds = number;
    else return false;
#undef IS
    return true;
}

static void print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(value);
}

/* Obeys until told to close; returns how long that may take. */
static double obey(engine *e)
{
    char *line = NULL;
    size_t room = 0;
    double seconds = 0;
    bool open = true;
    while (open && getline(&line, &room, stdin) >= 0) {
        json_t *order = json_loads(line, 0, NULL), *answer = NULL;
        const json_t *value;
        if ((value = json_object_get(order, "set"))) fake_engine_set(e, value);
        if (json_object_get(order, "report")) answer = fake_engine_report(e);
        if (json_object_get(order, "forget")) fake_engine_forget(e);
        if ((value = json_object_get(order, "close"))) {
            seconds = json_number_value(value);
            open = false;
        }
        if (open) print_json(answer ? answer : json_object());
        json_decref(order);
    }
    free(line);
    return seconds;
}

int main(int argc, char **argv)
{
    flags f = {.max_model_len = 4096, .limits = http_limits_default()};
    for (int i = 2; i < argc; i++)
        if (!read_flag(argv[i], &f)) return fprintf(stderr, "unknown argument %s\n", argv[i]), 2;
    if (argc < 2) return fprintf(stderr, "usage: fake_server VOCABULARY [key=value ...]\n"), 2;
    status_detail detail = {""};
    tokenizer *t = NULL;
    harmony *h = NULL;
    server *s = NULL;
    status result = tokenizer_open(argv[1], &t, &detail);
    if (result == STATUS_OK) result = harmony_open(t, &h, &detail);
    engine *e = result == STATUS_OK ? fake_engine_open(f.max_model_len, tokenizer_size(t)) : NULL;
    const char *const names[] = {"gpt-oss-test", "alias/of-it"};
    server_options options = {.host = "127.0.0.1", .names = names, .n_names = 2, .api_keys_file = f.keys, .max_responses = f.max_responses};
    if (e) result = server_open_limits(&options, &f.limits, e, t, h, &s, &detail);
    if (result == STATUS_OK) {
        print_json(json_pack("{s:i}", "port", server_port(s)));
        double seconds = obey(e);
        server_close(s, seconds);
        print_json(json_pack("{s:b}", "closed", 1));
    } else {
        fprintf(stderr, "%s\n", detail.text);
    }
    if (e) fake_engine_close(e);
    if (h) harmony_close(h);
    tokenizer_close(t);
    return status_exit_code(result);
}
