/* How the server is: /health, /ping, /version, /load, /metrics. */
#include <stdio.h>
#include <time.h>

#include "runtime/server/memory_metrics.h"
#include "runtime/server/server_internal.h"

void status_today(char out[11])
{
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    if (!strftime(out, 11, "%Y-%m-%d", &local)) out[0] = '\0';
}

void status_health_endpoint(const route_call *call)
{
    engine_stats stats;
    engine_get_stats(call->server->engine, &stats);
    http_exchange_reply(call->exchange, stats.alive ? 200 : 503, NULL, "", 0);
}

void status_version_endpoint(const route_call *call)
{
    json_writer w = {0};
    json_write_raw(&w, "{\"version\":\"" GPTOSS_VERSION "\"}");
    routes_reply_json(call->exchange, &w);
}

void status_load_endpoint(const route_call *call)
{
    json_writer w = {0};
    json_write_format(&w, "{\"server_load\":%d}", call->server->generations + call->server->deferred);
    routes_reply_json(call->exchange, &w);
}

void status_metrics_endpoint(const route_call *call)
{
    const server *s = call->server;
    engine_stats stats;
    char labels[METRICS_LABELS];
    json_writer w = {0};
    engine_get_stats(s->engine, &stats);
    metrics_labels(s->names[0], labels);
    metrics_write(&s->metrics, &stats, engine_kv_tokens(s->engine), labels, &w);
    memory_metrics_write(s->engine, labels, &w);
    http_metrics_write(&s->http_figures, routes_handler_name, &w);
    if (w.failed) http_exchange_reply(call->exchange, 500, NULL, "", 0);
    else http_exchange_reply(call->exchange, 200, "text/plain; version=0.0.4; charset=utf-8", w.text.data, w.text.size);
    json_write_free(&w);
}
