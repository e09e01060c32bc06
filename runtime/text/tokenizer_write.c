#include "runtime/text/tokenizer_write.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/text/byte_level.h"
#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/tokenizer_ranks.h"

/* ---- JSON text -----------------------------------------------------------------------------------------------------
 */

/* The document is written as text piece by piece: as a tree it would take ten times the memory. */

static bool put_string(buffer *out, const char *text, size_t size)
{
    json_t *value = json_stringn(text, size);
    char *written = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    bool done = written && buffer_append_text(out, written);
    free(written);
    json_decref(value);
    return done;
}

/* A token in the byte-level alphabet, of which only these two characters need an escape. */
static bool put_token(buffer *out, const vocab *v, int32_t id)
{
    char spelled[2 * TOKENIZER_RANKS_LONGEST];
    size_t size, start = 0;
    const char *bytes = vocab_bytes(v, id, &size);
    size_t n = byte_level_spell(bytes, size, spelled);
    bool done = buffer_append_text(out, "\"");
    for (size_t i = 0; i < n; i++) {
        if (spelled[i] != '"' && spelled[i] != '\\') continue;
        done = done && buffer_append(out, spelled + start, i - start) && buffer_append_text(out, "\\");
        start = i;
    }
    return done && buffer_append(out, spelled + start, n - start) && buffer_append_text(out, "\"");
}

static bool put_added_tokens(buffer *out, const vocab *v, int32_t n_ordinary)
{
    bool done = buffer_append_text(out, "  \"added_tokens\": [");
    for (int32_t id = n_ordinary; done && id < v->n_ids; id++) {
        size_t size;
        const char *text = vocab_bytes(v, id, &size);
        done = buffer_printf(out, "%s\n    {\"id\": %d, \"content\": ", id == n_ordinary ? "" : ",", (int)id) &&
               put_string(out, text, size) &&
               buffer_append_text(
                   out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                        "\"special\": true}");
    }
    return done && buffer_append_text(out, "\n  ],\n");
}

static bool put_pipeline(buffer *out)
{
    return buffer_append_text(out, "  \"normalizer\": null,\n"
                                   "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
                                   "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ") &&
           put_string(out, pretokenize_published_pattern, strlen(pretokenize_published_pattern)) &&
           buffer_append_text(
               out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n"
                    "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                    "\"use_regex\": false}\n  ]},\n"
                    "  \"post_processor\": null,\n"
                    "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                    "\"use_regex\": true},\n");
}

static bool put_vocab(buffer *out, const vocab *v, int32_t n_ordinary)
{
    bool done = buffer_append_text(out, "    \"vocab\": {");
    for (int32_t id = 0; done && id < n_ordinary; id++)
        done = buffer_append_text(out, id ? ",\n      " : "\n      ") && put_token(out, v, id) &&
               buffer_printf(out, ": %d", (int)id);
    return done && buffer_append_text(out, "\n    },\n");
}

static bool put_merges(buffer *out, const vocab *v, int32_t n_ordinary)
{
    bool done = buffer_append_text(out, "    \"merges\": ["), first = true;
    for (int32_t id = 0; done && id < n_ordinary; id++) {
        tokenizer_ranks_split splits[TOKENIZER_RANKS_LONGEST];
        size_t n = tokenizer_ranks_splits(v, id, splits);
        for (size_t i = 0; done && i < n; i++, first = false)
            done = buffer_append_text(out, first ? "\n      [" : ",\n      [") && put_token(out, v, splits[i].left) &&
                   buffer_append_text(out, ", ") && put_token(out, v, splits[i].right) && buffer_append_text(out, "]");
    }
    return done && buffer_append_text(out, "\n    ]\n");
}

static bool put_document(buffer *out, const vocab *v, int32_t n_ordinary)
{
    return buffer_append_text(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n") &&
           put_added_tokens(out, v, n_ordinary) && put_pipeline(out) &&
           buffer_append_text(
               out, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
                    "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
                    "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": true,\n") &&
           put_vocab(out, v, n_ordinary) && put_merges(out, v, n_ordinary) && buffer_append_text(out, "  }\n}\n");
}

/* ---- vocabulary ----------------------------------------------------------------------------------------------------
 */

static status read_ranks(const char *path, int32_t n_ordinary, vocab *v, status_detail *detail)
{
    buffer content = {0};
    int32_t total = 0;
    STATUS_TRY(tokenizer_file_read(path, &content, detail));
    status result = tokenizer_ranks_parse(content.data, content.size, n_ordinary, v, &total, detail);
    buffer_free(&content);
    if (result != STATUS_OK) return status_prefix(detail, result, "%s", path);
    if (n_ordinary < 256 || n_ordinary > total)
        return status_fail(detail, STATUS_USAGE, "a vocabulary of %d ordinary tokens: %s allows 256 to %d",
                           (int)n_ordinary, path, (int)total);
    return STATUS_OK;
}

static status add_specials(vocab *v, int32_t n_ordinary, const tokenizer_write_special *specials, size_t n,
                           status_detail *detail)
{
    for (size_t i = 0; i < n; i++) {
        if (specials[i].id < n_ordinary)
            return status_fail(detail, STATUS_USAGE, "special token %s has id %d; %d and above are free",
                               specials[i].text, (int)specials[i].id, (int)n_ordinary);
        if (vocab_add(v, specials[i].id, specials[i].text, strlen(specials[i].text), true, detail) != STATUS_OK)
            return status_prefix(detail, STATUS_USAGE, "special token %s", specials[i].text);
    }
    for (int32_t id = n_ordinary; id < v->n_ids; id++) {
        char reserved[32];
        size_t size;
        int length = snprintf(reserved, sizeof reserved, "<|reserved_%d|>", (int)id);
        if (!vocab_bytes(v, id, &size)) STATUS_TRY(vocab_add(v, id, reserved, (size_t)length, true, detail));
    }
    return vocab_seal(v, detail) == STATUS_OK ? STATUS_OK : STATUS_USAGE;
}

static status write_file(const char *path, const buffer *content, status_detail *detail)
{
    FILE *file = fopen(path, "wb");
    if (!file) return status_fail(detail, STATUS_MACHINE, "%s: cannot be created: %s", path, strerror(errno));
    size_t written = fwrite(content->data, 1, content->size, file);
    int write_error = written == content->size ? 0 : errno;
    if (fclose(file) != 0 && !write_error) write_error = errno;
    if (!write_error) return STATUS_OK;
    unlink(path);
    return status_fail(detail, STATUS_MACHINE, "%s: cannot be written: %s", path, strerror(write_error));
}

status tokenizer_write_json(const char *tiktoken_path, int32_t n_ordinary, const tokenizer_write_special *specials,
                            size_t n_specials, const char *path, status_detail *detail)
{
    vocab v = {0};
    buffer document = {0};
    status result = read_ranks(tiktoken_path, n_ordinary, &v, detail);
    if (result == STATUS_OK) result = add_specials(&v, n_ordinary, specials, n_specials, detail);
    if (result == STATUS_OK && !put_document(&document, &v, n_ordinary))
        result = status_fail(detail, STATUS_INTERNAL,
                             "out of memory, or a special token that is not UTF-8, while writing %s", path);
    if (result == STATUS_OK) result = write_file(path, &document, detail);
    buffer_free(&document);
    vocab_free(&v);
    return result;
}
