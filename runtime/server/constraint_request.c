/* A request's fields -> what limits its sequences. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/constraint.h"

/* A constraint being made. */
typedef struct maker {
    const server *server;
    bool may_compile; /* not on the server's thread: others would wait */
    api_error *error;
    constraint *made;
} maker;

static bool no_memory(const maker *m) { return api_error_set(m->error, 500, NULL, "Out of memory."); }

/* The grammar of a source; `param` names the field that it comes from. */
static bool get(maker *m, const constraint_source *source, const char *param, grammar **out)
{
    status_detail detail = {""};
    grammar *found = NULL;
    status result = constraint_cache_get(m->server->constraints, source, m->may_compile, &found, &detail);
    if (result == STATUS_INVALID) return api_error_set(m->error, 400, param, "%s: %s", param, detail.text);
    if (result != STATUS_OK) return api_error_from(m->error, result, &detail);
    if (!found) return api_error_set(m->error, ROUTE_LATER, NULL, "a grammar is to be compiled first");
    *out = found;
    return true;
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static bool take_allowed(maker *m, const sampling_params *p)
{
    constraint *c = m->made;
    if (!p->allowed_ids) return true;
    c->allowed = calloc(c->words, sizeof *c->allowed);
    if (!c->allowed) return no_memory(m);
    for (size_t i = 0; i < json_array_size(p->allowed_ids); i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(p->allowed_ids, i));
        c->allowed[id / 32] |= 1u << id % 32;
    }
    return true;
}

static bool add_bad(maker *m, const char *text, size_t size)
{
    constraint *c = m->made;
    status_detail detail = {""};
    id_list *ids = &c->bad[c->n_bad];
    status result = tokenizer_encode(m->server->tokenizer, text, size, ids, &detail);
    if (result != STATUS_OK) return api_error_from(m->error, result, &detail);
    if (ids->count == 0) return true;
    c->n_bad++;
    if (ids->count > c->longest_bad) c->longest_bad = ids->count;
    return true;
}

/* Each word as it is, and with a space before it, as it stands inside a text. Source: vLLM `vllm/sampling_params.py`, update_from_tokenizer(). */
static bool take_bad(maker *m, const sampling_params *p)
{
    size_t n = json_array_size(p->bad_words);
    constraint *c = m->made;
    if (n == 0) return true;
    c->bad = calloc(2 * n, sizeof *c->bad);
    if (!c->bad) return no_memory(m);
    for (size_t i = 0; i < n; i++) {
        const json_t *word = json_array_get(p->bad_words, i);
        const char *text = json_string_value(word);
        size_t size = json_string_length(word);
        while (size && *text == ' ') text++, size--;
        char *spaced = malloc(size + 2);
        if (!spaced) return no_memory(m);
        spaced[0] = ' ';
        memcpy(spaced + 1, text, size);
        bool good = add_bad(m, spaced + 1, size) && add_bad(m, spaced, size + 1);
        free(spaced);
        if (!good) return false;
    }
    return true;
}

/* What ends generation, as generation.c tells the engine. */
static void take_stops(maker *m, const sampling_params *p)
{
    constraint *c = m->made;
    const server *s = m->server;
    for (int i = 0; i < p->n_stop_ids; i++) c->stop_ids[c->n_stop_ids++] = p->stop_ids[i];
    for (int i = 0; !p->ignore_eos && i < s->n_stop_ids; i++) c->stop_ids[c->n_stop_ids++] = s->stop_ids[i];
    for (int i = 0; i < p->n_stop_ids; i++) c->closing_ids[c->n_closing_ids++] = p->stop_ids[i];
    for (int i = 0; i < s->n_stop_ids; i++) c->closing_ids[c->n_closing_ids++] = s->stop_ids[i];
    c->min_tokens = p->sampling.min_tokens;
}

static bool begin(maker *m, const server *s, api_error *error)
{
    *m = (maker){.server = s, .may_compile = worker_is_here(s->worker), .error = error, .made = calloc(1, sizeof *m->made)};
    if (!m->made) return no_memory(m);
    atomic_init(&m->made->references, 1);
    m->made->tokens = s->tokenizer;
    m->made->words = constraint_cache_words(s->constraints);
    return true;
}

/* *out NULL when nothing is limited. */
static bool finish(maker *m, bool good, const sampling_params *p, constraint **out)
{
    constraint *c = m->made;
    good = good && take_allowed(m, p) && take_bad(m, p);
    if (good) take_stops(m, p);
    bool needed = good && (c->shape != CONSTRAINT_ANY || c->allowed || c->n_bad);
    if (!needed) constraint_release(c);
    if (good) *out = needed ? c : NULL;
    return good;
}

bool constraint_of_text(const server *s, const sampling_params *params, constraint **out, api_error *error)
{
    maker m;
    bool good = begin(&m, s, error);
    if (good && params->structured.given) {
        m.made->shape = CONSTRAINT_TEXT;
        good = get(&m, &params->structured.source, params->structured.param, &m.made->text);
    }
    return finish(&m, good, params, out);
}

/* ---- a turn ----------------------------------------------------------------------------------------------------- */

/* The texts that may stand at one place of a header. */
typedef struct header_texts {
    json_t *list; /* owned */
    bool failed;
} header_texts;

__attribute__((format(printf, 2, 3))) static void add_text(header_texts *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_t *text = json_vsprintf(format, args);
    va_end(args);
    if (!text || json_array_append_new(t->list, text)) t->failed = true;
}

/* `before`, then nothing, the marker's space, or the type in plain words. */
static void add_typed(header_texts *t, const char *before, const char *name)
{
    static const char *const types[] = {"", " ", " json"};
    for (int i = 0; i < 3; i++) add_text(t, "%s%s%s", before, name, types[i]);
}

/* Drops the texts. */
static bool get_texts(maker *m, header_texts *t, grammar **out)
{
    constraint_source source = {.kind = CONSTRAINT_CHOICE, .json = t->list};
    bool good = t->list && !t->failed ? get(m, &source, "tools", out) : no_memory(m);
    json_decref(t->list);
    return good;
}

/* What a turn may hold. */
typedef struct turn_plan {
    bool answers, preambles, typed; /* typed: the answer is JSON */
} turn_plan;

static bool make_channels(maker *m, const turn_plan *plan, constraint_stage stage)
{
    constraint_rules *r = &m->made->rules;
    header_texts t = {json_array(), false};
    if (stage == CONSTRAINT_FRESH) add_text(&t, "analysis");
    if (plan->preambles && stage != CONSTRAINT_ANNOUNCED) add_text(&t, "commentary");
    if (plan->answers && plan->typed) add_typed(&t, "final", "");
    else if (plan->answers) add_text(&t, "final");
    for (size_t i = 0; i < r->n_functions; i++) add_typed(&t, "commentary to=functions.", r->names[i]);
    return get_texts(m, &t, &r->channels[stage]);
}

static bool make_roles(maker *m, int behind_start)
{
    constraint_rules *r = &m->made->rules;
    header_texts t = {json_array(), false};
    if (behind_start) add_text(&t, "assistant");
    for (size_t i = 0; i < r->n_functions; i++) add_text(&t, "%s to=functions.%s", behind_start ? "assistant" : "", r->names[i]);
    return get_texts(m, &t, &r->roles[behind_start]);
}

static bool make_headers(maker *m, const turn_plan *plan)
{
    constraint_rules *r = &m->made->rules;
    header_texts called = {json_array(), false}, json = {json_array(), false};
    bool calls = r->n_functions > 0;
    add_typed(&called, "commentary", "");
    add_text(&json, "json");
    bool good = get_texts(m, &called, &r->called);
    good = get_texts(m, &json, &r->json) && good;
    for (int stage = 0; good && stage < CONSTRAINT_STAGES; stage++) {
        bool reachable = stage != CONSTRAINT_ANNOUNCED || plan->preambles;
        if (reachable) good = make_channels(m, plan, (constraint_stage)stage);
    }
    return good && (!calls || make_roles(m, 0)) && make_roles(m, 1);
}

/* The schema of a function's arguments, which are an object whether the schema says so or not. A new reference; NULL: no memory. */
static json_t *arguments_schema(const json_t *parameters)
{
    static const char *const other[] = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"};
    if (!parameters) return json_pack("{s:s, s:{}, s:b}", "type", "object", "properties", "additionalProperties", 0);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        if (json_object_get(parameters, other[i])) return json_incref((json_t *)parameters);
    json_t *copy = json_copy((json_t *)parameters);
    if (copy && json_object_set_new(copy, "type", json_string("object"))) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static bool get_arguments(maker *m, const chat_tools *tools, size_t index, grammar **out)
{
    char param[64];
    snprintf(param, sizeof param, "tools[%zu].%sparameters", index, tools->form == CHAT_TOOLS_NESTED ? "function." : "");
    json_t *schema = arguments_schema(tools->items[index].parameters);
    if (!schema) return no_memory(m);
    constraint_source source = {.kind = CONSTRAINT_SCHEMA, .json = schema};
    bool good = get(m, &source, param, out);
    json_decref(schema);
    return good;
}

/* Functions that may be called, and how. */
static bool take_functions(maker *m, const chat_tools *tools)
{
    constraint_rules *r = &m->made->rules;
    bool must = tools->choice == CHAT_CHOICE_REQUIRED || tools->choice == CHAT_CHOICE_NAMED;
    if (!tools->offered) return true;
    r->names = calloc(tools->n, sizeof *r->names);
    r->arguments = calloc(tools->n, sizeof *r->arguments);
    if (!r->names || !r->arguments) return no_memory(m);
    for (size_t i = 0; i < tools->n; i++) {
        if (tools->choice == CHAT_CHOICE_NAMED && i != tools->named) continue;
        r->names[r->n_functions] = strdup(tools->names[i]);
        if (!r->names[r->n_functions]) return no_memory(m);
        r->n_functions++;
        if ((must || tools->strict[i]) && !get_arguments(m, tools, i, &r->arguments[r->n_functions - 1])) return false;
    }
    return true;
}

/* The answer's format, in one of the two ways to say it. False: none. */
static bool find_format(const chat_request *q, constraint_source *source, const char **param)
{
    const structured_output *other = &q->params.structured;
    if (other->given) {
        *source = other->source;
        *param = other->param;
        return true;
    }
    const json_t *schema = json_object_get(q->schema_format, "schema");
    bool flat = q->tools.form == CHAT_TOOLS_FLAT;
    *source = (constraint_source){.kind = json_is_object(schema) ? CONSTRAINT_SCHEMA : CONSTRAINT_JSON_OBJECT};
    if (source->kind == CONSTRAINT_SCHEMA) source->json = schema;
    *param = source->kind != CONSTRAINT_SCHEMA ? (flat ? "text.format" : "response_format")
                                               : (flat ? "text.format.schema" : "response_format.json_schema.schema");
    return q->schema_format || q->json_object;
}

static bool any_strict(const chat_tools *tools)
{
    for (size_t i = 0; i < tools->n; i++)
        if (tools->strict[i]) return true;
    return false;
}

static bool make_turn(maker *m, const chat_request *q)
{
    constraint_rules *r = &m->made->rules;
    const chat_tools *tools = &q->tools;
    constraint_source source;
    const char *param;
    bool must = tools->offered && tools->choice != CHAT_CHOICE_AUTO, formatted = find_format(q, &source, &param);
    if (q->params.structured.given && (q->schema_format || q->json_object))
        return api_error_set(m->error, 400, q->params.structured.param, "%s: is not allowed together with response_format.", q->params.structured.param);
    if (!must && !formatted && !(tools->offered && any_strict(tools))) return true;
    m->made->shape = CONSTRAINT_TURN;
    r->ids = *constraint_cache_ids(m->server->constraints);
    r->ordinary = constraint_cache_ordinary(m->server->constraints);
    r->words = m->made->words;
    turn_plan plan = {.answers = !must, .preambles = tools->offered && !must && !formatted,
                      .typed = formatted && (source.kind == CONSTRAINT_SCHEMA || source.kind == CONSTRAINT_JSON_OBJECT)};
    return (!formatted || get(m, &source, param, &r->answer)) && take_functions(m, tools) && make_headers(m, &plan);
}

bool constraint_of_chat(const server *s, chat_request *request, api_error *error)
{
    maker m;
    bool good = begin(&m, s, error) && make_turn(&m, request);
    return finish(&m, good, &request->params, &request->constraint);
}
