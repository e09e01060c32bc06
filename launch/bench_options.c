#include "launch/bench_options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launch/configuration.h"

enum { DEFAULT_CONTEXT = 1024, LARGEST_DEFAULT_BATCH = 1024, LEAST_DEFAULT_PROMPT = 512, LARGEST_DEFAULT_PROMPT = 32768 };

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool insert(bench_list *list, int value)
{
    int at = list->count;
    while (at > 0 && list->values[at - 1] > value) at--;
    if (at > 0 && list->values[at - 1] == value) return true;
    if (list->count == BENCH_MAX_LIST) return false;
    memmove(&list->values[at + 1], &list->values[at], (size_t)(list->count - at) * sizeof *list->values);
    list->values[at] = value;
    list->count++;
    return true;
}

bool bench_options_list(const char *text, int least, int most, bench_list *out)
{
    bench_list list = {.count = 0};
    for (;;) {
        char *end;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (end == text || errno || value < least || value > most || !insert(&list, (int)value)) return false;
        if (!*end) break;
        if (*end != ',') return false;
        text = end + 1;
    }
    *out = list;
    return true;
}

bool bench_options_rate(const char *text, const char *unit, double *out)
{
    static const char prefixes[] = "kMGTP";
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value) || value <= 0) return false;
    while (*end == ' ') end++;
    const char *prefix = *end ? strchr(prefixes, *end) : NULL;
    for (ptrdiff_t i = prefix ? prefix - prefixes : -1; i >= 0; i--) value *= 1e3;
    end += prefix != NULL;
    if (*end && strcasecmp(end, unit) != 0) return false;
    *out = value;
    return true;
}

static bool parse_cases(const char *text, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned cases;
    } known[] = {{"decode", BENCH_DECODE}, {"prefill", BENCH_PREFILL}, {"collectives", BENCH_COLLECTIVES}, {"load", BENCH_LOAD}, {"all", BENCH_ALL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(text, known[i].name) != 0) continue;
        *out = known[i].cases;
        return true;
    }
    return false;
}

static bool parse_seconds(const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= 3600)) return false;
    *out = value;
    return true;
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

typedef struct bench_words {
    const char *cases, *batches, *prompts, *seconds, *bandwidth, *flops;
    int64_t context;
} bench_words;

static status refuse(const char *flag, const char *found, const char *allowed, status_detail *detail)
{
    return status_fail(detail, STATUS_USAGE, "%s: found '%.64s', allowed is %s", flag, found, allowed);
}

static status parse_words(const bench_words *w, bench_options *o, status_detail *detail)
{
    if (w->cases && !parse_cases(w->cases, &o->cases))
        return refuse("--case", w->cases, "decode, prefill, collectives, load or all", detail);
    if (w->batches && !bench_options_list(w->batches, 1, BENCH_MAX_BATCH, &o->batches))
        return refuse("--batch", w->batches, "a list such as 1,2,64 of at most 32 numbers up to 8192", detail);
    if (w->prompts && !bench_options_list(w->prompts, 1, BENCH_MAX_TOKENS, &o->prompts))
        return refuse("--prompt", w->prompts, "a list such as 512,8192 of at most 32 numbers of tokens", detail);
    if (w->seconds && !parse_seconds(w->seconds, &o->seconds)) return refuse("--seconds", w->seconds, "a number up to 3600", detail);
    if (w->bandwidth && !bench_options_rate(w->bandwidth, "B/s", &o->limits.bandwidth))
        return refuse("--bandwidth", w->bandwidth, "a rate such as 4.55TB/s", detail);
    if (w->flops && !bench_options_rate(w->flops, "FLOP/s", &o->limits.flops))
        return refuse("--flops", w->flops, "a rate such as 790TFLOP/s", detail);
    o->context = (int)w->context;
    return STATUS_OK;
}

status bench_options_read(int argc, char **argv, bench_options *out, settings *s, status_detail *detail)
{
    bench_options o = {.cases = BENCH_ALL, .seconds = 2};
    bench_words w = {.context = DEFAULT_CONTEXT};
    const argument own[] = {
        {.flag = "--case", .type = ARGUMENT_TEXT, .to = &w.cases},
        {.flag = "--batch", .type = ARGUMENT_TEXT, .to = &w.batches},
        /* The last token drawn is fed to the step, so something must have come before it. */
        {.flag = "--context", .type = ARGUMENT_INT, .to = &w.context, .least = 2, .most = BENCH_MAX_TOKENS},
        {.flag = "--prompt", .type = ARGUMENT_TEXT, .to = &w.prompts},
        {.flag = "--json", .type = ARGUMENT_TEXT, .to = &o.json},
        {.flag = "--seconds", .type = ARGUMENT_TEXT, .to = &w.seconds},
        {.flag = "--bandwidth", .type = ARGUMENT_TEXT, .to = &w.bandwidth},
        {.flag = "--flops", .type = ARGUMENT_TEXT, .to = &w.flops},
    };
    STATUS_TRY(configuration_read(argc, argv, own, sizeof own / sizeof *own, s, detail));
    status result = parse_words(&w, &o, detail);
    if (result != STATUS_OK) {
        settings_free(s);
        return result;
    }
    *out = o;
    return STATUS_OK;
}

/* ---- what was left open ------------------------------------------------------------------------------------------ */

status bench_options_complete(bench_options *o, int64_t max_sequences, int dp, int max_positions, status_detail *detail)
{
    if (o->cases & BENCH_DECODE && o->context > max_positions)
        return status_fail(detail, STATUS_USAGE, "--context: found %d, allowed is at most the model's limit of %d", o->context, max_positions);
    if (o->prompts.count && o->prompts.values[o->prompts.count - 1] > max_positions)
        return status_fail(detail, STATUS_USAGE, "--prompt: found %d, allowed is at most the model's limit of %d",
                           o->prompts.values[o->prompts.count - 1], max_positions);
    if (!o->batches.count) {
        int64_t most = max_sequences * dp < LARGEST_DEFAULT_BATCH ? max_sequences * dp : LARGEST_DEFAULT_BATCH;
        for (int b = 1; b <= most; b *= 2) insert(&o->batches, b);
    }
    if (!o->prompts.count) {
        for (int n = LEAST_DEFAULT_PROMPT; n <= LARGEST_DEFAULT_PROMPT && n <= max_positions; n *= 2) insert(&o->prompts, n);
        if (!o->prompts.count) insert(&o->prompts, max_positions);
    }
    return STATUS_OK;
}
