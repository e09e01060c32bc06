/* One table of routes, and what holds for all of them: keys, CORS, methods, errors. */
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/server/page.h"
#include "runtime/server/server_internal.h"

typedef struct route {
    const char *method, *path;
    bool prefix;                  /* the path goes on with a name */
    const char *suffix;           /* what follows the name, which then has no "/" itself; NULL: nothing, and it may have some */
    bool quiet;                   /* not among the HTTP metrics: asked by machines, all the time; as in vLLM */
    void (*endpoint)(const route_call *call);
    const route_work *work;       /* where endpoint is NULL */
} route;

static const route table[] = {
    {"POST", "/v1/chat/completions", .work = &chat_work},
    {"POST", "/v1/completions", .work = &completion_work},
    {"POST", "/v1/responses", .work = &responses_work},
    {"POST", "/v1/responses/input_tokens", .work = &responses_count_work},
    {"GET", "/v1/responses/", .prefix = true, .suffix = "", .endpoint = responses_get_endpoint},
    {"DELETE", "/v1/responses/", .prefix = true, .suffix = "", .endpoint = responses_delete_endpoint},
    {"POST", "/v1/responses/", .prefix = true, .suffix = "/cancel", .endpoint = responses_cancel_endpoint},
    {"GET", "/v1/responses/", .prefix = true, .suffix = "/input_items", .endpoint = responses_input_items_endpoint},
    {"GET", "/v1/models", .endpoint = models_list_endpoint},
    {"GET", "/v1/models/", .prefix = true, .endpoint = models_one_endpoint},
    {"GET", "/", .endpoint = page_index_endpoint},
    {"GET", "/page/", .prefix = true, .suffix = "", .endpoint = page_file_endpoint},
    {"GET", "/health", .quiet = true, .endpoint = status_health_endpoint},
    {"GET", "/ping", .quiet = true, .endpoint = status_health_endpoint},
    {"POST", "/ping", .quiet = true, .endpoint = status_health_endpoint},
    {"GET", "/version", .quiet = true, .endpoint = status_version_endpoint},
    {"GET", "/load", .quiet = true, .endpoint = status_load_endpoint},
    {"GET", "/metrics", .quiet = true, .endpoint = status_metrics_endpoint},
    {"GET", "/openapi.json", .endpoint = openapi_endpoint},
    {"POST", "/tokenize", .work = &tokenize_work},
    {"POST", "/detokenize", .work = &detokenize_work},
};
enum { N_ROUTES = sizeof table / sizeof table[0] };
_Static_assert((int)N_ROUTES < (int)HTTP_METRICS_HANDLERS, "a row of http_metrics for each");

void routes_reply_error(http_exchange *x, const api_error *error)
{
    json_writer w = {0};
    api_error_write(&w, error);
    if (error->http == 429 || error->http == 503) http_exchange_header(x, "Retry-After", "1");
    if (error->http == 401) http_exchange_header(x, "WWW-Authenticate", "Bearer");
    http_exchange_reply(x, error->http, "application/json", w.failed ? "" : w.text.data, w.failed ? 0 : w.text.size);
    json_write_free(&w);
}

void routes_reply_json(http_exchange *x, json_writer *w)
{
    if (w->failed) {
        api_error error;
        api_error_set(&error, 500, NULL, "Out of memory.");
        routes_reply_error(x, &error);
    } else {
        http_exchange_reply(x, 200, "application/json", w->text.data, w->text.size);
    }
    json_write_free(w);
}

/* Where the name in a path ends; 0: the path is not this route's. */
static size_t name_end(const route *r, http_slice path)
{
    size_t size = strlen(r->path), end = path.size;
    if (path.size <= size || memcmp(path.data, r->path, size)) return 0;
    if (!r->suffix) return end;
    const char *slash = memchr(path.data + size, '/', path.size - size);
    if (slash) end = (size_t)(slash - path.data);
    return end > size && http_slice_is((http_slice){path.data + end, path.size - end}, r->suffix) ? end : 0;
}

static bool path_matches(const route *r, http_slice path)
{
    return r->prefix ? name_end(r, path) > 0 : http_slice_is(path, r->path);
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

/* Marks: 0 is counted nowhere, otherwise one more than handler * methods + method. */
static int mark_of(const http_head *head)
{
    int handler = 0;
    for (int i = 0; i < N_ROUTES && !handler; i++) {
        if (!path_matches(&table[i], head->path)) continue;
        if (table[i].quiet) return 0;
        handler = i + 1;
    }
    http_metrics_place place = http_metrics_find(handler, head->method);
    return 1 + place.handler * HTTP_METRICS_METHODS + place.method;
}

void routes_over(void *user, int mark, int code, double seconds)
{
    server *s = user;
    http_metrics_place place = {(mark - 1) / HTTP_METRICS_METHODS, (mark - 1) % HTTP_METRICS_METHODS};
    if (mark) http_metrics_count(&s->http_figures, place, code, seconds);
}

void routes_handler_name(int handler, char *out, size_t size)
{
    const route *r = &table[handler - 1];
    snprintf(out, size, "%s%s%s", r->path, r->prefix ? "{name}" : "", r->suffix ? r->suffix : "");
}

/* ---- dispatching ------------------------------------------------------------------------------------------------ */

/* HEAD is GET without the body, which the connection leaves out. */
static bool method_matches(const route *r, http_slice method)
{
    return http_slice_is(method, r->method) || (http_slice_is(method, "HEAD") && !strcmp(r->method, "GET"));
}

/* The methods of a path, "" when there is no such path. */
static void allowed_methods(http_slice path, char *out, size_t size)
{
    out[0] = '\0';
    for (int i = 0; i < N_ROUTES; i++) {
        if (!path_matches(&table[i], path)) continue;
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s%s", used ? ", " : "", table[i].method, strcmp(table[i].method, "GET") ? "" : ", HEAD");
    }
}

static void copy_slice(http_slice s, char *out, size_t size)
{
    size_t n = s.size < size - 1 ? s.size : size - 1;
    if (n) memcpy(out, s.data, n);
    out[n] = '\0';
}

/* A browser asks before it sends JSON to another origin. Any may: keys, not origins, protect this API. */
static void reply_options(http_exchange *x, const http_head *head, const char *allowed)
{
    char headers[400];
    http_slice wanted = http_head_find(head, "access-control-request-headers");
    copy_slice(wanted, headers, sizeof headers);
    http_exchange_header(x, "Allow", *allowed ? allowed : "GET, HEAD, POST, DELETE, OPTIONS");
    http_exchange_header(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS");
    http_exchange_header(x, "Access-Control-Allow-Headers", *headers ? headers : "*");
    http_exchange_header(x, "Access-Control-Max-Age", "600");
    http_exchange_reply(x, 200, NULL, "", 0);
}

static void reply_unknown(http_exchange *x, const http_head *head, const char *allowed)
{
    api_error error;
    char path[200];
    copy_slice(head->path, path, sizeof path);
    if (*allowed) {
        http_exchange_header(x, "Allow", allowed);
        api_error_set(&error, 405, NULL, "%.*s is not allowed for %s; allowed: %s.", (int)(head->method.size < 20 ? head->method.size : 20),
                      head->method.data, path, allowed);
    } else {
        api_error_set(&error, 404, NULL, "There is no %s here.", path);
    }
    routes_reply_error(x, &error);
}

static bool needs_key(http_slice path) { return path.size >= 3 && !memcmp(path.data, "/v1", 3) && (path.size == 3 || path.data[3] == '/'); }

static void call_endpoint(const route *r, route_call *call)
{
    char *encoded = NULL, *tail = NULL;
    size_t skip = strlen(r->path), size = 0;
    if (r->prefix) {
        encoded = strndup(call->head->path.data + skip, name_end(r, call->head->path) - skip);
        tail = encoded ? evhttp_uridecode(encoded, 0, &size) : NULL;
        /* no name holds a NUL: "tiny%00x" is not "tiny" */
        call->tail = tail && strlen(tail) == size ? tail : "";
    }
    if (r->work) routes_work(call, r->work);
    else r->endpoint(call);
    free(tail);
    free(encoded);
}

void routes_dispatch(void *user, http_exchange *x, const http_head *head, char *body, size_t size)
{
    server *s = user;
    char allowed[64];
    allowed_methods(head->path, allowed, sizeof allowed);
    http_exchange_mark(x, mark_of(head));
    http_exchange_header(x, "Access-Control-Allow-Origin", "*");
    if (http_slice_is(head->method, "OPTIONS")) {
        reply_options(x, head, allowed);
        return;
    }
    if (needs_key(head->path) && !api_keys_allow(&s->keys, http_head_find(head, "authorization"))) {
        api_error error;
        api_error_set(&error, 401, NULL, "Unauthorized: this server wants \"Authorization: Bearer KEY\" with a key it knows.");
        routes_reply_error(x, &error);
        return;
    }
    for (int i = 0; i < N_ROUTES; i++) {
        if (!path_matches(&table[i], head->path) || !method_matches(&table[i], head->method)) continue;
        route_call call = {.server = s, .exchange = x, .head = head, .tail = "", .body = body, .body_size = size};
        call_endpoint(&table[i], &call);
        return;
    }
    reply_unknown(x, head, allowed);
}

void routes_fault(void *user, http_exchange *x, const http_fault *fault)
{
    (void)user;
    api_error error;
    http_exchange_mark(x, 1); /* no handler, and the method may not have been read */
    api_error_set(&error, fault->status, NULL, "%s", fault->reason);
    http_exchange_header(x, "Access-Control-Allow-Origin", "*");
    routes_reply_error(x, &error);
}
