/* A .tiktoken file as o200k_harmony: its ranks, and the special tokens that the file does not name.
 * Source of the names: openai/tiktoken `tiktoken_ext/openai_public.py` o200k_harmony. */
#include <stdio.h>
#include <string.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/tokenizer_ranks.h"

/* This is the one place where ids of special tokens are known beforehand: the file format has no room for them. */
enum { O200K_RANKS = 199998, O200K_IDS = 201088 };

static const struct {
    int32_t id;
    const char *text;
} named[] = {
    {199998, "<|startoftext|>"}, {199999, "<|endoftext|>"},   {200002, "<|return|>"}, {200003, "<|constrain|>"},
    {200005, "<|channel|>"},     {200006, "<|start|>"},       {200007, "<|end|>"},    {200008, "<|message|>"},
    {200012, "<|call|>"},        {200018, "<|endofprompt|>"},
};

static status add_specials(vocab *v, status_detail *detail)
{
    size_t next = 0;
    for (int32_t id = O200K_RANKS; id < O200K_IDS; id++) {
        char reserved[32];
        const char *text = reserved;
        if (next < sizeof named / sizeof *named && named[next].id == id)
            text = named[next++].text;
        else
            snprintf(reserved, sizeof reserved, "<|reserved_%d|>", (int)id);
        STATUS_TRY(vocab_add(v, id, text, strlen(text), true, detail));
    }
    return STATUS_OK;
}

static bool add_rules(tokenizer *t)
{
    for (int32_t id = 0; id < O200K_RANKS; id++) {
        tokenizer_ranks_split splits[TOKENIZER_RANKS_LONGEST];
        size_t n = tokenizer_ranks_splits(&t->vocab, id, splits);
        for (size_t i = 0; i < n; i++) {
            bpe_rule rule = {.left = splits[i].left, .right = splits[i].right, .priority = (uint32_t)id, .merged = id};
            if (!bpe_add(&t->bpe, rule)) return false;
        }
    }
    return true;
}

status tokenizer_tiktoken_read(tokenizer *t, const char *data, size_t size, status_detail *detail)
{
    STATUS_TRY(tokenizer_ranks_parse(data, size, VOCAB_MAX_IDS, &t->vocab, NULL, detail));
    if (t->vocab.n_ids != O200K_RANKS)
        return status_fail(detail, STATUS_MODEL,
                           "%d ranks, o200k has %d; a .tiktoken file names no special tokens, use a tokenizer.json for "
                           "another vocabulary",
                           (int)t->vocab.n_ids, O200K_RANKS);
    STATUS_TRY(add_specials(&t->vocab, detail));
    if (!add_rules(t)) return status_fail(detail, STATUS_INTERNAL, "out of memory for the merge rules");
    return tokenizer_seal(t, detail);
}
