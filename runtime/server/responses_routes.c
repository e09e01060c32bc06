/* What can be done with responses that are stored, or made in the background. */
#include <errno.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/json_fields.h"
#include "runtime/server/responses.h"

/* The stored response of the path; NULL after answering 404. */
static const responses_entry *find(const route_call *call)
{
    const responses_entry *entry = responses_store_find(call->server->responses, call->tail);
    if (entry) return entry;
    api_error error;
    responses_store_unknown(call->tail, &error);
    routes_reply_error(call->exchange, &error);
    return NULL;
}

static void reply_entry(const route_call *call, const responses_entry *entry)
{
    json_writer w = {0};
    if (entry->running) responses_object_write(entry->running, &w);
    else json_write_bytes(&w, entry->text, entry->size);
    routes_reply_json(call->exchange, &w);
}

/* The query as JSON strings, so that its fields are read like any others; NULL when memory ends. A query that cannot be read is empty. */
static json_t *read_query(http_slice query)
{
    json_t *out = json_object();
    struct evkeyvalq pairs;
    char *text = strndup(query.size ? query.data : "", query.size);
    if (out && text && !evhttp_parse_query_str(text, &pairs)) {
        for (const struct evkeyval *p = pairs.tqh_first; p; p = p->next.tqe_next) json_object_set_new(out, p->key, json_string(p->value));
        evhttp_clear_headers(&pairs);
    }
    free(text);
    return out;
}

/* What the query of GET asks for. */
typedef struct retrieval {
    bool stream;
    int64_t first; /* event of the stream */
} retrieval;

/* *out is zero before. */
static bool parse_retrieval(const json_t *query, retrieval *out, api_error *error)
{
    json_fields f = {query, "", error};
    const char *stream = NULL, *after = NULL;
    if (!json_fields_string(&f, "stream", &stream, NULL) || !json_fields_string(&f, "starting_after", &after, NULL)) return false;
    if (stream && strcmp(stream, "true") && strcmp(stream, "false")) return json_fields_fail(&f, "stream", "true or false is expected.");
    out->stream = stream && !strcmp(stream, "true");
    if (!after) return true;
    char *end;
    errno = 0;
    long long number = strtoll(after, &end, 10);
    if (errno || *end || after[0] < '0' || after[0] > '9' || number == LLONG_MAX)
        return json_fields_fail(&f, "starting_after", "the sequence_number of an event is expected.");
    out->first = number + 1;
    return true;
}

/* Why a response that is there cannot be streamed. */
static bool check_streamable(const responses_entry *entry, api_error *error)
{
    if (entry->events) return true;
    if (entry->streamed)
        return api_error_set(error, 400, "stream", "stream: the events of this response are not kept any more, for want of memory; ask without stream.");
    return api_error_set(error, 400, "stream", "stream: only a response made with background: true and stream: true can be streamed again; ask without it.");
}

void responses_get_endpoint(const route_call *call)
{
    api_error error;
    retrieval asked = {.stream = false};
    const responses_entry *entry = NULL;
    json_t *query = read_query(call->head->query);
    bool good = query ? parse_retrieval(query, &asked, &error) : api_error_set(&error, 500, NULL, "Out of memory.");
    json_decref(query);
    if (good && !(entry = find(call))) return;
    if (good && asked.stream) good = check_streamable(entry, &error);
    if (!good) routes_reply_error(call->exchange, &error);
    else if (asked.stream) responses_follow(call, entry->events, asked.first);
    else reply_entry(call, entry);
}

void responses_delete_endpoint(const route_call *call)
{
    const responses_entry *entry = find(call);
    if (!entry) return;
    if (entry->running) responses_cancel(entry->running);
    responses_store_remove(call->server->responses, call->tail);
    json_writer w = {0};
    json_write_raw(&w, "{\"id\":");
    json_write_text(&w, call->tail);
    json_write_raw(&w, ",\"object\":\"response\",\"deleted\":true}");
    routes_reply_json(call->exchange, &w);
}

void responses_cancel_endpoint(const route_call *call)
{
    const responses_entry *entry = find(call);
    if (!entry) return;
    if (!entry->background) {
        api_error error;
        api_error_set(&error, 400, NULL, "Only a response made with background: true can be cancelled; to end another, close its connection.");
        routes_reply_error(call->exchange, &error);
        return;
    }
    if (entry->running) {
        responses_cancel(entry->running);
        entry = find(call);
    }
    if (entry) reply_entry(call, entry);
}

/* ---- input items ------------------------------------------------------------------------------------------------- */

typedef struct page {
    const char *after; /* NULL: from the beginning */
    int64_t limit;
    bool ascending;
} page;

static bool parse_page(const json_t *query, page *out, api_error *error)
{
    json_fields f = {query, "", error};
    const char *limit = NULL, *order = NULL;
    *out = (page){.limit = 20};
    if (!json_fields_string(&f, "limit", &limit, NULL) || !json_fields_string(&f, "order", &order, NULL) ||
        !json_fields_string(&f, "after", &out->after, NULL))
        return false;
    char *end = "";
    if (limit) out->limit = strtol(limit, &end, 10);
    if (*end || out->limit < 1 || out->limit > 100) return json_fields_fail(&f, "limit", "a number from 1 to 100 is expected.");
    if (order && strcmp(order, "asc") && strcmp(order, "desc")) return json_fields_fail(&f, "order", "\"asc\" or \"desc\" is expected.");
    out->ascending = order && !strcmp(order, "asc");
    return true;
}

/* The item at place `i` of the order asked for. */
static const json_t *item_at(const json_t *items, const page *p, size_t i)
{
    return json_array_get(items, p->ascending ? i : json_array_size(items) - 1 - i);
}

static void write_id(const char *key, const json_t *item, json_writer *w)
{
    json_write_format(w, ",\"%s\":", key);
    json_write_text(w, json_string_value(json_object_get(item, "id")));
}

static bool write_page(const json_t *items, const page *p, json_writer *w, api_error *error)
{
    size_t n = json_array_size(items), first = 0, end;
    if (p->after) {
        while (first < n && !responses_items_is(item_at(items, p, first), "id", p->after)) first++;
        if (first == n) return api_error_set(error, 400, "after", "after: no input item of this response has the id \"%.100s\".", p->after);
        first++;
    }
    end = n - first > (size_t)p->limit ? first + (size_t)p->limit : n;
    json_write_raw(w, "{\"object\":\"list\",\"data\":[");
    for (size_t i = first; i < end; i++) {
        char *text = json_dumps(item_at(items, p, i), JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (i > first) json_write_raw(w, ",");
        if (text) json_write_raw(w, text);
        else w->failed = true;
        free(text);
    }
    json_write_raw(w, "]");
    write_id("first_id", first < end ? item_at(items, p, first) : NULL, w);
    write_id("last_id", first < end ? item_at(items, p, end - 1) : NULL, w);
    json_write_format(w, ",\"has_more\":%s}", end < n ? "true" : "false");
    return true;
}

/* All that the model was given, earlier turns too. */
void responses_input_items_endpoint(const route_call *call)
{
    const responses_entry *entry = find(call);
    if (!entry) return;
    api_error error;
    page p;
    json_writer w = {0};
    json_t *query = read_query(call->head->query), *items = json_array();
    bool good = query && items && responses_store_items(entry->turn, true, items);
    if (!good) api_error_set(&error, 500, NULL, "Out of memory.");
    if (good && parse_page(query, &p, &error) && write_page(items, &p, &w, &error)) {
        routes_reply_json(call->exchange, &w);
    } else {
        routes_reply_error(call->exchange, &error);
        json_write_free(&w);
    }
    json_decref(items);
    json_decref(query);
}
