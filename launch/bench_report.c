#include "launch/bench_report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/bench_origin.h"
#include "runtime/base/bytes.h"

struct bench_report {
    const char *json_path;
    json_t *root, *results, *notes; /* the latter two belong to root */
    const char *section;            /* whose head was printed last; NULL: none */
    int groups;
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

status bench_report_open(const char *json_path, bench_report **out, status_detail *detail)
{
    /* Now, not after minutes of measuring; what the file held stays until there is something better. */
    FILE *file = json_path ? fopen(json_path, "a") : NULL;
    if (json_path && !file) return status_fail(detail, STATUS_USAGE, "--json: cannot write %.200s: %s", json_path, strerror(errno));
    if (file) fclose(file);
    bench_report *r = calloc(1, sizeof *r);
    if (!r) return status_fail(detail, STATUS_MACHINE, "out of memory");
    *r = (bench_report){.json_path = json_path, .root = json_object(), .results = json_array(), .notes = json_array(), .groups = 1};
    if (json_object_set_new(r->root, "build", bench_origin_build()) || json_object_set_new(r->root, "run", bench_origin_run()) ||
        json_object_set_new(r->root, "results", r->results) || json_object_set_new(r->root, "notes", r->notes)) {
        bench_report_close(r);
        return status_fail(detail, STATUS_MACHINE, "out of memory");
    }
    *out = r;
    return STATUS_OK;
}

void bench_report_close(bench_report *r)
{
    if (!r) return;
    json_decref(r->root);
    free(r);
}

/* ---- what was measured on what ----------------------------------------------------------------------------------- */

static const char *const attention_names[] = {"auto", "tp", "dp"}, *const expert_names[] = {"auto", "tp", "ep"};

static json_t *limits_json(const bench_limits *l)
{
    return json_pack("{s:f, s:s, s:f, s:s}", "bytes_per_second", l->limits.bandwidth, "bytes_from", l->bandwidth_from, "flops_per_second",
                     l->limits.flops, "flops_from", l->flops_from);
}

static json_t *model_json(const bench_setting *s)
{
    const model_config *c = s->config;
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "name", s->settings->model.names.items[0], "path", s->dir, "weights",
                     s->settings->model.weights == WEIGHTS_DUMMY ? "dummy" : "checkpoint", "layers", c->layers, "hidden", c->hidden,
                     "intermediate", c->intermediate, "experts", c->experts, "experts_per_token", c->experts_per_token, "vocab", c->vocab);
}

static json_t *config_json(const bench_setting *s)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:f, s:b}", "backend", s->caps->name, "max_tokens_per_step", s->max_tokens, "threads", s->threads,
                     "context", s->options->context, "seconds", s->options->seconds, "share_gpu", (int)s->settings->parallel.share_gpu);
}

static json_t *layout_json(const shard_plan *p)
{
    return json_pack("{s:i, s:s, s:s, s:i, s:i, s:s}", "ranks", p->world, "attention", attention_names[p->layout.attention], "experts",
                     expert_names[p->layout.experts], "groups", p->dp, "ranks_per_group", p->tp, "why", p->why);
}

/* units: of 1e9 and of 1e12. */
static void print_limit(double value, const char *const units[2], const char *from, const char *flag)
{
    if (value > 0)
        printf(" %.4g %s (%s)", value / (value < 1e12 ? 1e9 : 1e12), units[value >= 1e12], from);
    else
        printf(" %s unknown (%s tells)", units[1], flag);
}

void bench_report_setting(bench_report *r, const bench_setting *s)
{
    const shard_plan *p = s->plan;
    r->groups = p->dp;
    printf("%s%s, backend %s: %d rank%s, attention %s in %d group%s of %d, experts %s\n", s->settings->model.names.items[0],
           s->settings->model.weights == WEIGHTS_DUMMY ? " (dummy weights)" : "", s->caps->name, p->world, p->world == 1 ? "" : "s",
           attention_names[p->layout.attention], p->dp, p->dp == 1 ? "" : "s", p->tp, expert_names[p->layout.experts]);
    printf("device: %s", s->limits->device);
    if (s->caps->host_memory) printf(", %d thread%s a rank", s->threads, s->threads == 1 ? "" : "s");
    printf("\nroofline of one rank:");
    print_limit(s->limits->limits.bandwidth, (const char *[]){"GB/s", "TB/s"}, s->limits->bandwidth_from, "--bandwidth");
    printf(",");
    print_limit(s->limits->limits.flops, (const char *[]){"GFLOP/s", "TFLOP/s"}, s->limits->flops_from, "--flops");
    printf("\n");
    fflush(stdout);
    json_object_set_new(r->root, "device", json_string(s->limits->device));
    json_object_set_new(r->root, "limits_per_rank", limits_json(s->limits));
    json_object_set_new(r->root, "model", model_json(s));
    json_object_set_new(r->root, "config", config_json(s));
    json_object_set_new(r->root, "layout", layout_json(p));
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Prints the head of a part of the table before its first row. */
static void begin_section(bench_report *r, const char *section, const char *head)
{
    if (r->section != section) printf("\n%s\n", head);
    r->section = section;
}

void bench_report_load(bench_report *r, const bench_load *l)
{
    static const char section[] = "load";
    char free_text[32];
    begin_section(r, section, "load          GB  GB of one rank   seconds    GB/s     KV cache GB of one rank    free of one rank");
    printf("load    %8.3f  %14.3f  %8.3f  %6.2f  %26.3f  %18s\n", (double)l->bytes_all / 1e9, (double)l->bytes_most / 1e9, l->seconds,
           (double)l->bytes_all / 1e9 / l->seconds, (double)l->kv_bytes / 1e9, bytes_format(l->memory_free, free_text));
    fflush(stdout);
    json_array_append_new(r->results, json_pack("{s:s, s:f, s:I, s:I, s:f, s:I, s:I}", "case", "load", "seconds", l->seconds, "bytes",
                                                (json_int_t)l->bytes_all, "bytes_of_one_rank", (json_int_t)l->bytes_most, "bytes_per_second",
                                                (double)l->bytes_all / l->seconds, "kv_bytes_of_one_rank", (json_int_t)l->kv_bytes,
                                                "memory_free", (json_int_t)l->memory_free));
}

static json_t *work_json(const roofline_work *w)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "bytes", roofline_bytes(w), "bytes_attention_router_norms", w->bytes_dense,
                     "bytes_experts", w->bytes_experts, "bytes_head", w->bytes_head, "bytes_kv_full", w->bytes_full, "bytes_kv_sliding",
                     w->bytes_sliding, "flops", w->flops, "experts_touched", w->experts_touched);
}

void bench_report_speed(bench_report *r, const bench_speed *s)
{
    static const char decode[] = "decode", prefill[] = "prefill";
    const char *name = s->prefill ? prefill : decode;
    double mean = bench_samples_mean(s->samples), median = bench_samples_quantile(s->samples, 0.5), p99 = bench_samples_quantile(s->samples, 0.99);
    double rate = (double)s->sequences * (s->prefill ? s->tokens : 1) / mean;
    char share[16] = "-";
    int most = (s->sequences + r->groups - 1) / r->groups;
    if (s->floor_seconds > 0) snprintf(share, sizeof share, "%.1f %%", 100 * s->floor_seconds / median);
    if (s->prefill)
        begin_section(r, name, "prefill  prompts  a group   tokens      tokens/s   ms median      ms p99   TFLOP a rank  roofline  prompts timed");
    else
        begin_section(r, name, "decode     batch  a group  context      tokens/s   ms median      ms p99      GB a rank  roofline    steps timed");
    printf("%-7s %8d %8d %8d  %12.1f  %10.3f  %10.3f  %13.4f  %8s  %13d\n", name, s->sequences, most, s->tokens, rate, 1e3 * median, 1e3 * p99,
           s->prefill ? s->work.flops / 1e12 : roofline_bytes(&s->work) / 1e9, share, s->samples->count);
    fflush(stdout);
    json_array_append_new(
        r->results, json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:i, s:f, s:o, s:o}", "case", name, s->prefill ? "prompts" : "batch",
                              s->sequences, s->prefill ? "prompts_of_one_group" : "batch_of_one_group", most,
                              s->prefill ? "prompt_tokens" : "context", s->tokens, "tokens_per_second", rate, "ms_mean", 1e3 * mean, "ms_median",
                              1e3 * median, "ms_p99", 1e3 * p99, "samples", s->samples->count, "ms_at_roofline", 1e3 * s->floor_seconds,
                              "share_of_roofline", s->floor_seconds > 0 ? json_real(s->floor_seconds / median) : json_null(),
                              "work_of_one_rank", work_json(&s->work)));
}

void bench_report_collective(bench_report *r, const bench_collective *c)
{
    static const char section[] = "collectives";
    double median = bench_samples_quantile(c->samples, 0.5), p99 = bench_samples_quantile(c->samples, 0.99);
    double rate = (double)c->bytes_moved / median;
    char shown[32] = "-";
    if (c->bytes_moved > 0) snprintf(shown, sizeof shown, "%.3f", rate / 1e9);
    begin_section(r, section, "collective     ranks  transport     rows           KB   us median      us p99   GB/s a rank");
    printf("%-13s  %5d  %9s  %7d  %11.1f  %10.1f  %10.1f  %12s\n", c->name, c->ranks, c->transport, c->rows, (double)c->bytes / 1e3,
           1e6 * median, 1e6 * p99, shown);
    fflush(stdout);
    json_array_append_new(r->results, json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:f, s:f, s:i}", "case", "collectives", "operation",
                                                c->name, "transport", c->transport, "ranks", c->ranks, "rows", c->rows, "bytes",
                                                (json_int_t)c->bytes, "bytes_moved", (json_int_t)c->bytes_moved, "us_median", 1e6 * median,
                                                "us_p99", 1e6 * p99, "samples", c->samples->count));
}

void bench_report_note(bench_report *r, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    printf("%s\n", text);
    fflush(stdout);
    json_array_append_new(r->notes, json_string(text));
}

status bench_report_write(bench_report *r, status_detail *detail)
{
    if (!r->json_path) return STATUS_OK;
    FILE *file = fopen(r->json_path, "w");
    bool good = file && json_dumpf(r->root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 && fputc('\n', file) != EOF;
    int error = errno;
    if (file && fclose(file) != 0) good = false;
    if (!good) return status_fail(detail, STATUS_MACHINE, "--json: cannot write %.200s: %s", r->json_path, strerror(error));
    return STATUS_OK;
}
