/* Hugging Face's tokenizer.json: byte-level BPE behind the o200k pattern. Anything else that would change the tokens is
 * refused. */
#include <jansson.h>
#include <string.h>

#include "runtime/text/byte_level.h"
#include "runtime/text/tokenizer_parts.h"

#define ADVICE "take the tokenizer.json of a gpt-oss checkpoint"

static bool is_text(const json_t *value, const char *text)
{
    const char *string = json_string_value(value);
    return string && strcmp(string, text) == 0;
}

/* Absent, null, false and "" all say that a setting is off. */
static bool is_off(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* ---- what must hold for our pieces and merges to be the file's -----------------------------------------------------
 */

static bool is_pattern_split(const json_t *step)
{
    const json_t *behavior = json_object_get(step, "behavior");
    bool inverted = json_is_true(json_object_get(step, "invert"));
    /* The pattern leaves no gaps: keeping the matches and cutting between them is the same. */
    bool keeps = (is_text(behavior, "Isolated") && !inverted) || (is_text(behavior, "Removed") && inverted);
    const json_t *pattern = json_object_get(json_object_get(step, "pattern"), "Regex");
    return is_text(json_object_get(step, "type"), "Split") && keeps && is_text(pattern, pretokenize_published_pattern);
}

static bool is_plain_byte_level(const json_t *step)
{
    return is_text(json_object_get(step, "type"), "ByteLevel") &&
           json_is_false(json_object_get(step, "add_prefix_space")) &&
           json_is_false(json_object_get(step, "use_regex"));
}

static status check_pipeline(const json_t *root, status_detail *detail)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *steps = json_object_get(pre, "pretokenizers");
    if (!is_off(json_object_get(root, "normalizer")))
        return status_fail(detail, STATUS_MODEL, "it has a normalizer, which o200k has not; " ADVICE);
    if (!is_text(json_object_get(pre, "type"), "Sequence") || json_array_size(steps) != 2 ||
        !is_pattern_split(json_array_get(steps, 0)) || !is_plain_byte_level(json_array_get(steps, 1)))
        return status_fail(detail, STATUS_MODEL,
                           "pre_tokenizer is not a Split by the o200k pattern followed by a plain ByteLevel; " ADVICE);
    return STATUS_OK;
}

static status check_model(const json_t *model, status_detail *detail)
{
    static const char *const settings[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                           "byte_fallback"};
    const json_t *type = json_object_get(model, "type");
    if (!is_text(type, "BPE"))
        return status_fail(detail, STATUS_MODEL, "model.type is \"%.40s\", not \"BPE\"; " ADVICE,
                           json_is_string(type) ? json_string_value(type) : "");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!is_off(json_object_get(model, settings[i])))
            return status_fail(detail, STATUS_MODEL, "model.%s is set, which o200k does not use; " ADVICE, settings[i]);
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return status_fail(detail, STATUS_MODEL, "model.vocab is not an object or model.merges not an array; " ADVICE);
    return STATUS_OK;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* -1, which no vocabulary takes, for everything that is not an id. */
static int32_t id_value(const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    return id >= 0 && id < VOCAB_MAX_IDS ? (int32_t)id : -1;
}

static status read_added_tokens(vocab *v, const json_t *added, status_detail *detail)
{
    size_t index;
    const json_t *entry;
    if (added && !json_is_null(added) && !json_is_array(added))
        return status_fail(detail, STATUS_MODEL, "added_tokens is not an array; " ADVICE);
    json_array_foreach(added, index, entry)
    {
        const json_t *content = json_object_get(entry, "content");
        int32_t id = id_value(json_object_get(entry, "id"));
        status result = vocab_add(v, id, json_string_value(content), json_string_length(content), true, detail);
        if (result != STATUS_OK) return status_prefix(detail, result, "added_tokens[%zu]", index);
    }
    return STATUS_OK;
}

/* Room for `size` bytes in `scratch`, or NULL. */
static char *scratch_bytes(buffer *scratch, size_t size)
{
    buffer_clear(scratch);
    return buffer_reserve(scratch, size) ? scratch->data : NULL;
}

/* Whether the vocabulary repeats an added token, as older files do: under its id, spelled plainly or in the byte-level
 * alphabet. */
static bool repeats_special(const vocab *v, int32_t id, const char *spelled, size_t spelled_size, const char *bytes,
                            size_t n)
{
    size_t size;
    const char *text = vocab_bytes(v, id, &size);
    if (!vocab_is_special(v, id)) return false;
    return (size == spelled_size && memcmp(text, spelled, size) == 0) || (size == n && memcmp(text, bytes, n) == 0);
}

static status read_vocab(vocab *v, json_t *entries, buffer *scratch, status_detail *detail)
{
    const char *spelled;
    json_t *value;
    json_object_foreach(entries, spelled, value)
    {
        size_t size = strlen(spelled), n = 0;
        int32_t id = id_value(value);
        char *bytes = scratch_bytes(scratch, size);
        if (!bytes) return status_fail(detail, STATUS_INTERNAL, "out of memory while reading model.vocab");
        bool read = byte_level_read(spelled, size, bytes, &n);
        if (repeats_special(v, id, spelled, size, bytes, read ? n : 0)) continue;
        if (!read)
            return status_fail(detail, STATUS_MODEL,
                               "model.vocab: \"%.80s\" is not in the byte-level alphabet; " ADVICE, spelled);
        status result = vocab_add(v, id, bytes, n, false, detail);
        if (result != STATUS_OK) return status_prefix(detail, result, "model.vocab: \"%.80s\"", spelled);
    }
    return STATUS_OK;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

/* The two sides of a merge as they are spelled: "a b", or ["a", "b"]. */
typedef struct spelled_pair {
    const char *left, *right;
    size_t left_size, right_size;
} spelled_pair;

static bool split_merge(const json_t *merge, spelled_pair *out)
{
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge), *space = strchr(text, ' ');
        if (!space) return false;
        size_t left = (size_t)(space - text);
        *out = (spelled_pair){text, space + 1, left, json_string_length(merge) - left - 1};
        return true;
    }
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right)) return false;
    *out = (spelled_pair){json_string_value(left), json_string_value(right), json_string_length(left),
                          json_string_length(right)};
    return true;
}

/* The rule of a merge, without its priority. */
static status find_rule(const vocab *v, const spelled_pair *pair, buffer *scratch, bpe_rule *out, status_detail *detail)
{
    size_t left, right;
    char *bytes = scratch_bytes(scratch, pair->left_size + pair->right_size);
    if (!bytes) return status_fail(detail, STATUS_INTERNAL, "out of memory while reading model.merges");
    *out = (bpe_rule){.left = -1, .right = -1, .merged = -1};
    if (byte_level_read(pair->left, pair->left_size, bytes, &left) &&
        byte_level_read(pair->right, pair->right_size, bytes + left, &right)) {
        out->left = vocab_find(v, bytes, left);
        out->right = vocab_find(v, bytes + left, right);
        out->merged = vocab_find(v, bytes, left + right);
    }
    if (out->left >= 0 && out->right >= 0 && out->merged >= 0) return STATUS_OK;
    return status_fail(detail, STATUS_MODEL, "\"%.60s\" + \"%.60s\": a side, or both together, is not in model.vocab",
                       pair->left, pair->right);
}

/* A merge's priority is its place in the list. Neighbours that make the same token share one: files converted from
 * tiktoken list every way to make a token, and there the token's rank alone decides, then the leftmost place. */
static status read_merges(tokenizer *t, const json_t *merges, buffer *scratch, status_detail *detail)
{
    size_t index;
    const json_t *merge;
    uint32_t priority = 0;
    int32_t previous = -1;
    if (json_array_size(merges) >= BPE_NO_RULE) return status_fail(detail, STATUS_MODEL, "model.merges is too long");
    json_array_foreach(merges, index, merge)
    {
        spelled_pair pair;
        bpe_rule rule;
        if (!split_merge(merge, &pair))
            return status_fail(detail, STATUS_MODEL, "model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]; " ADVICE,
                               index);
        status result = find_rule(&t->vocab, &pair, scratch, &rule, detail);
        if (result != STATUS_OK) return status_prefix(detail, result, "model.merges[%zu]", index);
        if (rule.merged != previous) priority = (uint32_t)index;
        previous = rule.merged;
        rule.priority = priority;
        if (!bpe_add(&t->bpe, rule)) return status_fail(detail, STATUS_INTERNAL, "out of memory for the merge rules");
    }
    return STATUS_OK;
}

/* Without ignore_merges a piece is a token only when merging makes it one; tokens that merging does not make are
 * hidden, so that encoding can always look for the whole piece first. (All of o200k's can be made.) */
static status hide_unreachable(tokenizer *t, status_detail *detail)
{
    id_list ids = {0};
    status result = STATUS_OK;
    for (int32_t id = 0; id < t->vocab.n_ids && result == STATUS_OK; id++) {
        size_t size;
        const char *bytes = vocab_bytes(&t->vocab, id, &size);
        if (!bytes || vocab_is_special(&t->vocab, id)) continue;
        id_list_clear(&ids);
        if (!bpe_encode(&t->bpe, bytes, size, &ids))
            result = status_fail(detail, STATUS_INTERNAL, "out of memory for the vocabulary");
        if (result == STATUS_OK && ids.count != 1) vocab_hide(&t->vocab, id);
    }
    id_list_free(&ids);
    return result;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static status read_root(tokenizer *t, const json_t *root, buffer *scratch, status_detail *detail)
{
    const json_t *model = json_object_get(root, "model");
    STATUS_TRY(check_model(model, detail));
    STATUS_TRY(check_pipeline(root, detail));
    STATUS_TRY(read_added_tokens(&t->vocab, json_object_get(root, "added_tokens"), detail));
    STATUS_TRY(read_vocab(&t->vocab, json_object_get(model, "vocab"), scratch, detail));
    STATUS_TRY(read_merges(t, json_object_get(model, "merges"), scratch, detail));
    STATUS_TRY(tokenizer_seal(t, detail));
    return json_is_true(json_object_get(model, "ignore_merges")) ? STATUS_OK : hide_unreachable(t, detail);
}

status tokenizer_json_read(tokenizer *t, const char *data, size_t size, status_detail *detail)
{
    json_error_t error;
    buffer scratch = {0};
    json_t *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return status_fail(detail, STATUS_MODEL, "not JSON (line %d, column %d: %s); is the file whole?", error.line,
                           error.column, error.text);
    status result = read_root(t, root, &scratch, detail);
    buffer_free(&scratch);
    json_decref(root);
    return result;
}
