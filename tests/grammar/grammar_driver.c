/* Runs grammars for random_schemas.py and measures masks.
 *
 * Reads one JSON object a line: {"schema"|"regex"|"ebnf": ..., "seed": n, "runs": n, "texts": [...]}. Writes one a
 * line: {"error": "..."} or
 * {"runs": [{"text": "...", "done": b}], "accepted": [b, ...]}: texts sampled from the masks with random logits, and
 * which of `texts` are sentences. Ends with exit code 1 and a line on stderr when a mask is empty too soon or a masked
 * token is refused. How long masks took is summed up on stderr, in processor time of the one thread.
 *
 * Sampling: each token of the mask is as likely as any other; so that strings and lists end, one time in four, and
 * always once a text is long, the token is the single byte that closes most. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/grammar/grammar.h"

enum { LONG_TEXT = 60, MAX_TOKENS = 4000 };

typedef struct driver {
    tokenizer *t;
    grammar_vocab *v;
    uint32_t *bits;
    int32_t of_byte[256];
    uint64_t random;
    struct {
        float *items; /* microseconds of each mask */
        size_t n, capacity;
    } times[2]; /* of the first run of a grammar, and of the later ones */
} driver;

static uint32_t next_random(driver *d)
{
    d->random += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    uint64_t z = d->random;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "grammar_driver: %s %s\n", what, detail);
    exit(1);
}

/* Microseconds that this thread ran: other processes on the machine do not count. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void keep_time(driver *d, bool first, double us)
{
    size_t n = d->times[!first].n, *capacity = &d->times[!first].capacity;
    if (n == *capacity) {
        *capacity = n ? n * 2 : 4096;
        d->times[!first].items = realloc(d->times[!first].items, *capacity * sizeof(float));
        if (!d->times[!first].items) die("out of", "memory");
    }
    d->times[!first].items[d->times[!first].n++] = (float)us;
}

/* ---- one text ---------------------------------------------------------------------------------------------------- */

static bool allowed(const driver *d, int32_t id) { return d->bits[id >> 5] >> (id & 31) & 1; }

static bool in_string(const buffer *text)
{
    bool inside = false;
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] == '"') inside = !inside;
        if (text->data[i] == '\\') i++;
    }
    return inside;
}

/* The closing byte that is allowed, or -1. */
static int32_t closing(driver *d, const buffer *text)
{
    for (const char *c = in_string(text) ? "\"" : "}]\"0"; *c; c++)
        if (allowed(d, d->of_byte[(unsigned char)*c])) return d->of_byte[(unsigned char)*c];
    return -1;
}

/* Number `k` of the allowed tokens, counted from 0; -1: there are fewer. */
static int32_t kth(const driver *d, uint32_t k)
{
    for (size_t w = 0; w < grammar_vocab_words(d->v); w++) {
        uint32_t word = d->bits[w], n = (uint32_t)__builtin_popcount(word);
        if (k >= n) {
            k -= n;
            continue;
        }
        while (k--) word &= word - 1;
        return (int32_t)(w * 32 + (uint32_t)__builtin_ctz(word));
    }
    return -1;
}

static int32_t pick(driver *d, size_t length, const buffer *text)
{
    uint32_t n = 0;
    for (size_t w = 0; w < grammar_vocab_words(d->v); w++) n += (uint32_t)__builtin_popcount(d->bits[w]);
    if (n == 0) return -1;
    int32_t close = length > LONG_TEXT || next_random(d) % 4 == 0 ? closing(d, text) : -1;
    return close >= 0 ? close : kth(d, next_random(d) % n);
}

static json_t *sample(driver *d, grammar *g, bool first)
{
    grammar_matcher *m;
    buffer text = {0};
    status_detail detail;
    size_t tokens = 0;
    if (grammar_matcher_open(g, &m, &detail) != STATUS_OK) die("open:", detail.text);
    for (; tokens < MAX_TOKENS; tokens++) {
        if (grammar_matcher_is_done(m) &&
            (!grammar_matcher_may_continue(m) || tokens > LONG_TEXT || next_random(d) % 2))
            break;
        double began = now();
        if (grammar_matcher_mask(m, d->bits, &detail) != STATUS_OK) die("mask:", detail.text);
        keep_time(d, first, now() - began);
        int32_t id = pick(d, tokens, &text);
        if (id < 0) die("empty mask after", text.data ? text.data : "");
        size_t size;
        const char *bytes = tokenizer_bytes(d->t, id, &size);
        if (!grammar_matcher_accept(m, id)) die("masked token refused after", text.data ? text.data : "");
        if (!buffer_append(&text, bytes, size)) die("out of", "memory");
    }
    json_t *out =
        json_pack("{s:s#,s:b}", "text", text.data ? text.data : "", (int)text.size, "done", grammar_matcher_is_done(m));
    if (!out) out = json_pack("{s:s,s:b}", "text", "(not UTF-8)", "done", grammar_matcher_is_done(m));
    grammar_matcher_close(m);
    buffer_free(&text);
    return out;
}

static bool accepts(driver *d, grammar *g, const char *text, size_t size)
{
    grammar_matcher *m;
    id_list ids = {0};
    if (tokenizer_encode(d->t, text, size, &ids, NULL) != STATUS_OK) die("encode", text);
    if (grammar_matcher_open(g, &m, NULL) != STATUS_OK) die("open", "");
    bool ok = true;
    for (size_t i = 0; i < ids.count && ok; i++) ok = grammar_matcher_accept(m, ids.ids[i]);
    ok = ok && grammar_matcher_is_done(m);
    grammar_matcher_close(m);
    id_list_free(&ids);
    return ok;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static status compile(driver *d, const json_t *line, grammar **out, status_detail *detail)
{
    const json_t *schema = json_object_get(line, "schema"), *regex = json_object_get(line, "regex"),
                 *ebnf = json_object_get(line, "ebnf");
    if (schema) return grammar_from_schema(d->v, schema, NULL, out, detail);
    if (regex) return grammar_from_regex(d->v, json_string_value(regex), json_string_length(regex), out, detail);
    if (ebnf) return grammar_from_ebnf(d->v, json_string_value(ebnf), json_string_length(ebnf), out, detail);
    return grammar_from_json_object(d->v, NULL, out, detail);
}

static json_t *answer(driver *d, const json_t *line)
{
    grammar *g;
    status_detail detail;
    if (compile(d, line, &g, &detail) != STATUS_OK) return json_pack("{s:s}", "error", detail.text);
    json_t *runs = json_array(), *accepted = json_array(), *text;
    size_t index;
    d->random = (uint64_t)json_integer_value(json_object_get(line, "seed"));
    json_int_t n = json_integer_value(json_object_get(line, "runs"));
    for (json_int_t i = 0; i < n; i++) json_array_append_new(runs, sample(d, g, i == 0));
    json_array_foreach(json_object_get(line, "texts"), index, text)
        json_array_append_new(accepted, json_boolean(accepts(d, g, json_string_value(text), json_string_length(text))));
    grammar_release(g);
    return json_pack("{s:o,s:o}", "runs", runs, "accepted", accepted);
}

static int compare_times(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(driver *d, int which, const char *name)
{
    float *t = d->times[which].items;
    size_t n = d->times[which].n, above = 0;
    if (n == 0) return;
    qsort(t, n, sizeof *t, compare_times);
    while (above < n && t[n - 1 - above] > 100) above++;
    fprintf(stderr,
            "%s: %zu masks, p50 %.1f us, p90 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us; %.2f %% above 100 us\n",
            name, n, (double)t[n / 2], (double)t[n * 9 / 10], (double)t[n * 99 / 100], (double)t[n * 999 / 1000],
            (double)t[n - 1], 100.0 * (double)above / (double)n);
    free(t);
}

int main(int argc, char **argv)
{
    driver d = {0};
    status_detail detail;
    char path[4096];
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    snprintf(path, sizeof path, "%s/../runtime/text/data/o200k_base.tiktoken", tests ? tests : "tests");
    if (tokenizer_open(argc > 1 ? argv[1] : path, &d.t, &detail) != STATUS_OK) die("tokenizer:", detail.text);
    double began = now();
    if (grammar_vocab_open(d.t, &d.v, &detail) != STATUS_OK) die("vocabulary:", detail.text);
    fprintf(stderr, "vocabulary opened in %.0f ms\n", (now() - began) / 1e3);
    d.bits = malloc(grammar_vocab_words(d.v) * sizeof *d.bits);
    for (int32_t id = 0; id < grammar_vocab_size(d.v); id++) {
        size_t size;
        const char *bytes = tokenizer_bytes(d.t, id, &size);
        if (size == 1) d.of_byte[(unsigned char)bytes[0]] = id;
    }
    json_t *line;
    json_error_t error;
    while ((line = json_loadf(stdin, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error))) {
        json_t *out = answer(&d, line);
        if (!out || json_dumpf(out, stdout, JSON_COMPACT) != 0) die("cannot write", "");
        puts("");
        fflush(stdout);
        json_decref(out);
        json_decref(line);
    }
    report(&d, 0, "first run of each grammar");
    report(&d, 1, "later runs");
    free(d.bits);
    grammar_vocab_close(d.v);
    tokenizer_close(d.t);
    return 0;
}
