#include "runtime/grammar/grammar_vocab.h"

#include <stdlib.h>
#include <string.h>

static status copy_bytes(const tokenizer *t, grammar_vocab *v, status_detail *detail)
{
    size_t total = 0, size;
    for (int32_t id = 0; id < v->n_ids; id++)
        if (!tokenizer_is_special(t, id) && tokenizer_bytes(t, id, &size) && size <= TRIE_MAX_TOKEN) total += size;
    if (total > UINT32_MAX) return status_fail(detail, STATUS_MODEL, "the tokens together are larger than 4 GiB");
    v->starts = malloc(((size_t)v->n_ids + 1) * sizeof *v->starts);
    v->bytes = malloc(total ? total : 1);
    if (!v->starts || !v->bytes)
        return status_fail(detail, STATUS_INTERNAL, "out of memory for the vocabulary of constrained output");
    uint32_t at = 0;
    for (int32_t id = 0; id < v->n_ids; id++) {
        v->starts[id] = at;
        const char *bytes = tokenizer_is_special(t, id) ? NULL : tokenizer_bytes(t, id, &size);
        if (!bytes || size > TRIE_MAX_TOKEN) continue;
        memcpy(v->bytes + at, bytes, size);
        at += (uint32_t)size;
    }
    v->starts[v->n_ids] = at;
    return STATUS_OK;
}

/* Every byte must be a token: this is what keeps a matcher from getting stuck. */
static status check_single_bytes(const trie_key *keys, size_t n, status_detail *detail)
{
    bool found[256] = {false};
    for (size_t i = 0; i < n; i++)
        if (keys[i].size == 1) found[keys[i].bytes[0]] = true;
    for (int byte = 0; byte < 256; byte++)
        if (!found[byte])
            return status_fail(detail, STATUS_MODEL,
                               "constrained output needs a token for every byte; the vocabulary has none for 0x%02X",
                               byte);
    return STATUS_OK;
}

static status build_tries(grammar_vocab *v, trie_key *keys, size_t n, status_detail *detail)
{
    trie_sort(keys, n);
    STATUS_TRY(check_single_bytes(keys, n, detail));
    bool built = trie_build(keys, n, &v->all);
    for (int class = 0; built && class < SLICE_CLASSES; class ++)
        built = slice_build((slice_class) class, keys, n, v->words, &v->slices[class]);
    for (int encoding = EXPR_UTF8; built && encoding <= EXPR_JSON; encoding++)
        built = vocab_text_build(keys, n, (expr_encoding)encoding, &v->texts[encoding]);
    if (!built) return status_fail(detail, STATUS_INTERNAL, "out of memory for the vocabulary of constrained output");
    return STATUS_OK;
}

status grammar_vocab_open(const tokenizer *t, grammar_vocab **out, status_detail *detail)
{
    trie_key *keys = NULL;
    grammar_vocab *v = calloc(1, sizeof *v);
    status code = STATUS_INTERNAL;
    if (!v) goto no_memory;
    v->n_ids = tokenizer_size(t);
    v->words = ((size_t)v->n_ids + 31) / 32;
    if ((code = copy_bytes(t, v, detail)) != STATUS_OK) goto failed;
    keys = malloc(((size_t)v->n_ids + 1) * sizeof *keys);
    if (!keys) {
        code = STATUS_INTERNAL;
        goto no_memory;
    }
    size_t n = 0, size;
    for (int32_t id = 0; id < v->n_ids; id++) {
        const unsigned char *bytes = grammar_vocab_bytes(v, id, &size);
        if (size) keys[n++] = (trie_key){bytes, (uint32_t)size, (uint32_t)id};
    }
    if ((code = build_tries(v, keys, n, detail)) != STATUS_OK) goto failed;
    free(keys);
    *out = v;
    return STATUS_OK;

no_memory:
    (void)status_fail(detail, STATUS_INTERNAL, "out of memory for the vocabulary of constrained output");
failed:
    free(keys);
    grammar_vocab_close(v);
    return code;
}

void grammar_vocab_close(grammar_vocab *v)
{
    if (!v) return;
    for (int class = 0; class < SLICE_CLASSES; class ++) slice_free(&v->slices[class]);
    for (int encoding = EXPR_UTF8; encoding <= EXPR_JSON; encoding++) vocab_text_free(&v->texts[encoding]);
    trie_free(&v->all);
    free(v->bytes);
    free(v->starts);
    free(v);
}

int32_t grammar_vocab_size(const grammar_vocab *v) { return v->n_ids; }
size_t grammar_vocab_words(const grammar_vocab *v) { return v->words; }

const unsigned char *grammar_vocab_bytes(const grammar_vocab *v, int32_t id, size_t *size)
{
    *size = 0;
    if (id < 0 || id >= v->n_ids) return NULL;
    *size = v->starts[id + 1] - v->starts[id];
    return v->bytes + v->starts[id];
}
