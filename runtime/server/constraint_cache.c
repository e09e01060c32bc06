#include "runtime/server/constraint_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Their texts together; a schema of megabytes must not push out all others, nor many such fill the memory. */
enum { MAX_KEY_BYTES = 16 << 20 };

typedef struct entry {
    char *key; /* owned: kind and compactness in two bytes, then the text */
    size_t size;
    uint64_t hash;
    grammar *grammar; /* a reference */
    uint64_t used;    /* the clock when it was last asked for */
} entry;

struct constraint_cache {
    grammar_vocab *vocab; /* NULL: `why` */
    status_detail why;
    constraint_ids ids;
    size_t words;
    uint32_t *ordinary;   /* [words] */
    pthread_mutex_t lock; /* of all below */
    entry entries[CONSTRAINT_CACHE_GRAMMARS];
    int n_entries;
    size_t key_bytes;
    uint64_t clock;
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void fill_ordinary(const tokenizer *t, uint32_t *out)
{
    for (int32_t id = 0; id < tokenizer_size(t); id++) {
        size_t size;
        if (tokenizer_bytes(t, id, &size) && !tokenizer_is_special(t, id)) out[id / 32] |= 1u << id % 32;
    }
}

status constraint_cache_open(const tokenizer *t, constraint_cache **out, status_detail *detail)
{
    constraint_cache *c = calloc(1, sizeof *c);
    size_t words = ((size_t)tokenizer_size(t) + 31) / 32;
    uint32_t *ordinary = calloc(words + 1, sizeof *ordinary);
    if (!c || !ordinary) {
        free(c);
        free(ordinary);
        return status_fail(detail, STATUS_MACHINE, "no memory for the server's constraints");
    }
    c->words = words;
    c->ordinary = ordinary;
    c->ids = (constraint_ids){tokenizer_special(t, "<|start|>"),     tokenizer_special(t, "<|end|>"),       tokenizer_special(t, "<|message|>"),
                              tokenizer_special(t, "<|channel|>"),   tokenizer_special(t, "<|constrain|>"), tokenizer_special(t, "<|return|>"),
                              tokenizer_special(t, "<|call|>")};
    fill_ordinary(t, ordinary);
    (void)grammar_vocab_open(t, &c->vocab, &c->why);
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return STATUS_OK;
}

static void free_entry(entry *e)
{
    grammar_release(e->grammar);
    free(e->key);
}

void constraint_cache_close(constraint_cache *c)
{
    if (!c) return;
    for (int i = 0; i < c->n_entries; i++) free_entry(&c->entries[i]);
    grammar_vocab_close(c->vocab);
    pthread_mutex_destroy(&c->lock);
    free(c->ordinary);
    free(c);
}

const constraint_ids *constraint_cache_ids(const constraint_cache *c) { return &c->ids; }
const uint32_t *constraint_cache_ordinary(const constraint_cache *c) { return c->ordinary; }
size_t constraint_cache_words(const constraint_cache *c) { return c->words; }

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* FNV-1a; equal hashes are compared byte by byte. */
static uint64_t hash_of(const char *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3u;
    return hash;
}

/* The order of a schema's keys is kept: it decides the order of an object's members. */
static char *make_key(const constraint_source *source, size_t *size)
{
    char *json = source->json ? json_dumps(source->json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    const char *text = source->json ? json : source->text;
    size_t length = source->json ? (json ? strlen(json) : 0) : source->size;
    char *key = (source->json && !json) ? NULL : malloc(length + 3);
    if (key) {
        key[0] = (char)('0' + source->kind);
        key[1] = source->compact ? 'c' : ' ';
        if (length) memcpy(key + 2, text, length);
        key[length + 2] = '\0';
        *size = length + 2;
    }
    free(json);
    return key;
}

/* ---- compiling -------------------------------------------------------------------------------------------------- */

static status compile_choice(const grammar_vocab *v, const json_t *strings, grammar **out, status_detail *detail)
{
    size_t n = json_array_size(strings);
    const char **texts = calloc(n + 1, sizeof *texts);
    size_t *sizes = calloc(n + 1, sizeof *sizes);
    for (size_t i = 0; texts && sizes && i < n; i++) {
        texts[i] = json_string_value(json_array_get(strings, i));
        sizes[i] = json_string_length(json_array_get(strings, i));
    }
    status result = texts && sizes ? grammar_from_choice(v, texts, sizes, n, out, detail) : status_fail(detail, STATUS_INTERNAL, "no memory for a choice");
    free(texts);
    free(sizes);
    return result;
}

static status compile(const constraint_cache *c, const constraint_source *source, grammar **out, status_detail *detail)
{
    grammar_options options = {.compact = source->compact};
    if (!c->vocab) return status_fail(detail, STATUS_INVALID, "this model's vocabulary cannot be constrained: %.400s", c->why.text);
    switch (source->kind) {
    case CONSTRAINT_JSON_OBJECT: return grammar_from_json_object(c->vocab, &options, out, detail);
    case CONSTRAINT_SCHEMA: return grammar_from_schema(c->vocab, source->json, &options, out, detail);
    case CONSTRAINT_CHOICE: return compile_choice(c->vocab, source->json, out, detail);
    case CONSTRAINT_REGEX: return grammar_from_regex(c->vocab, source->text, source->size, out, detail);
    case CONSTRAINT_EBNF: return grammar_from_ebnf(c->vocab, source->text, source->size, out, detail);
    }
    return status_fail(detail, STATUS_INTERNAL, "a grammar of kind %d", (int)source->kind);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

/* [locked] A new reference, or NULL. */
static grammar *find(constraint_cache *c, const char *key, size_t size, uint64_t hash)
{
    for (int i = 0; i < c->n_entries; i++) {
        entry *e = &c->entries[i];
        if (e->hash != hash || e->size != size || memcmp(e->key, key, size)) continue;
        e->used = ++c->clock;
        return grammar_retain(e->grammar);
    }
    return NULL;
}

/* [locked] */
static void drop_oldest(constraint_cache *c)
{
    int oldest = 0;
    for (int i = 1; i < c->n_entries; i++)
        if (c->entries[i].used < c->entries[oldest].used) oldest = i;
    c->key_bytes -= c->entries[oldest].size;
    free_entry(&c->entries[oldest]);
    c->entries[oldest] = c->entries[--c->n_entries];
}

/* Takes the key over. Another thread may have been faster: its grammar is then as good. */
static void keep(constraint_cache *c, char *key, size_t size, uint64_t hash, grammar *made)
{
    pthread_mutex_lock(&c->lock);
    grammar *there = find(c, key, size, hash);
    bool fits = !there && size <= MAX_KEY_BYTES / 4;
    while (fits && (c->n_entries == CONSTRAINT_CACHE_GRAMMARS || c->key_bytes + size > MAX_KEY_BYTES)) drop_oldest(c);
    if (fits) {
        c->entries[c->n_entries++] = (entry){key, size, hash, grammar_retain(made), ++c->clock};
        c->key_bytes += size;
    }
    pthread_mutex_unlock(&c->lock);
    grammar_release(there);
    if (!fits) free(key);
}

status constraint_cache_get(constraint_cache *c, const constraint_source *source, bool may_compile, grammar **out, status_detail *detail)
{
    size_t size;
    char *key = make_key(source, &size);
    if (!key) return status_fail(detail, STATUS_INTERNAL, "no memory for a grammar's text");
    uint64_t hash = hash_of(key, size);
    pthread_mutex_lock(&c->lock);
    grammar *found = find(c, key, size, hash);
    pthread_mutex_unlock(&c->lock);
    status result = STATUS_OK;
    bool missing = !found && may_compile;
    if (missing) result = compile(c, source, &found, detail);
    if (missing && result == STATUS_OK) keep(c, key, size, hash, found);
    else free(key);
    if (result == STATUS_OK) *out = found;
    return result;
}
