/* GET /v1/models and /v1/models/{id}. */
#include <string.h>

#include "runtime/server/server_internal.h"

static int find_model(const server *s, const char *name)
{
    for (int i = 0; i < s->n_names; i++)
        if (!strcmp(s->names[i], name)) return i;
    return -1;
}

bool models_check(const server *s, const char *name, api_error *error)
{
    if (!name || !*name || find_model(s, name) >= 0) return true;
    return api_error_set(error, 404, "model", "The model `%.300s` does not exist.", name);
}

static void write_model(const server *s, const char *name, json_writer *w)
{
    json_write_raw(w, "{\"id\":");
    json_write_text(w, name);
    json_write_format(w, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"gptoss-tp\",\"root\":", (long long)s->started);
    json_write_text(w, s->names[0]);
    json_write_format(w, ",\"parent\":null,\"max_model_len\":%d,\"permission\":[]}", s->limits.max_model_len);
}

void models_list_endpoint(const route_call *call)
{
    json_writer w = {0};
    json_write_raw(&w, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < call->server->n_names; i++) {
        if (i) json_write_raw(&w, ",");
        write_model(call->server, call->server->names[i], &w);
    }
    json_write_raw(&w, "]}");
    routes_reply_json(call->exchange, &w);
}

void models_one_endpoint(const route_call *call)
{
    api_error error;
    if (find_model(call->server, call->tail) < 0) {
        api_error_set(&error, 404, "model", "The model `%.300s` does not exist.", call->tail);
        routes_reply_error(call->exchange, &error);
        return;
    }
    json_writer w = {0};
    write_model(call->server, call->tail, &w);
    routes_reply_json(call->exchange, &w);
}
