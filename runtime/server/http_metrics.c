#include "runtime/server/http_metrics.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const methods[HTTP_METRICS_METHODS] = {"other", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};

/* The instrumentation's own are 0.1, 0.5 and 1; answers take longer. */
static const double bounds[HTTP_METRICS_BOUNDS] = {.1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};

http_metrics_place http_metrics_find(int handler, http_slice method)
{
    http_metrics_place place = {handler, 0};
    for (int i = 1; i < HTTP_METRICS_METHODS; i++)
        if (http_slice_is(method, methods[i])) place.method = i;
    return place;
}

void http_metrics_count(http_metrics *m, http_metrics_place place, int code, double seconds)
{
    http_metrics_row *row = &m->rows[place.handler][place.method];
    int class = code / 100 - 1, bucket = 0;
    if (class < 0 || class >= HTTP_METRICS_CLASSES) class = HTTP_METRICS_CLASSES - 1;
    while (bucket < HTTP_METRICS_BOUNDS && seconds > bounds[bucket]) bucket++;
    row->codes[class]++;
    row->times[bucket]++;
    row->seconds += seconds;
}

static uint64_t requests(const http_metrics_row *row)
{
    uint64_t n = 0;
    for (int i = 0; i < HTTP_METRICS_CLASSES; i++) n += row->codes[i];
    return n;
}

static void write_counts(const http_metrics_row *row, const char *labels, json_writer *out)
{
    for (int i = 0; i < HTTP_METRICS_CLASSES; i++)
        if (row->codes[i]) json_write_format(out, "http_requests_total{%s,status=\"%dxx\"} %" PRIu64 "\n", labels, i + 1, row->codes[i]);
}

static void write_times(const http_metrics_row *row, const char *labels, json_writer *out)
{
    uint64_t total = 0;
    for (int i = 0; i < HTTP_METRICS_BOUNDS; i++) {
        total += row->times[i];
        json_write_format(out, "http_request_duration_seconds_bucket{%s,le=\"%g%s\"} %" PRIu64 "\n", labels, bounds[i],
                          bounds[i] == (int)bounds[i] ? ".0" : "", total);
    }
    total = requests(row);
    json_write_format(out, "http_request_duration_seconds_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", labels, total);
    json_write_format(out, "http_request_duration_seconds_count{%s} %" PRIu64 "\n", labels, total);
    json_write_format(out, "http_request_duration_seconds_sum{%s} %.9g\n", labels, row->seconds);
}

/* All rows that have counted something, by `write`. */
static void write_rows(const http_metrics *m, void (*name)(int handler, char *out, size_t size),
                       void (*write)(const http_metrics_row *row, const char *labels, json_writer *out), json_writer *out)
{
    for (int handler = 0; handler < HTTP_METRICS_HANDLERS; handler++) {
        for (int method = 0; method < HTTP_METRICS_METHODS; method++) {
            const http_metrics_row *row = &m->rows[handler][method];
            char label[64] = "none", labels[128];
            if (!requests(row)) continue;
            if (handler) name(handler, label, sizeof label);
            snprintf(labels, sizeof labels, "handler=\"%s\",method=\"%s\"", label, methods[method]);
            write(row, labels, out);
        }
    }
}

void http_metrics_write(const http_metrics *m, void (*name)(int handler, char *out, size_t size), json_writer *out)
{
    json_write_raw(out, "# HELP http_requests_total Requests by handler, method and class of status.\n# TYPE http_requests_total counter\n");
    write_rows(m, name, write_counts, out);
    json_write_raw(out, "# HELP http_request_duration_seconds Time from a whole request to the end of its reply.\n"
                        "# TYPE http_request_duration_seconds histogram\n");
    write_rows(m, name, write_times, out);
}
