#include "runtime/text/tokenizer.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/utf8.h"

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *ending)
{
    size_t size = strlen(text), end = strlen(ending);
    return size >= end && strcmp(text + size - end, ending) == 0;
}

static status join(char out[PATH_MAX], const char *directory, const char *name, status_detail *detail)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", directory, name);
    if (length >= 0 && length < PATH_MAX) return STATUS_OK;
    return status_fail(detail, STATUS_MODEL, "%s: the path is too long", directory);
}

/* The tokenizer's file in a directory: tokenizer.json, else the only *.tiktoken. */
static status find_in_directory(const char *directory, char out[PATH_MAX], status_detail *detail)
{
    struct stat info;
    STATUS_TRY(join(out, directory, "tokenizer.json", detail));
    if (stat(out, &info) == 0) return STATUS_OK;

    DIR *listing = opendir(directory);
    if (!listing) return status_fail(detail, STATUS_MODEL, "%s: cannot be listed: %s", directory, strerror(errno));
    int found = 0;
    status result = STATUS_OK;
    for (struct dirent *entry; result == STATUS_OK && (entry = readdir(listing));) {
        if (!ends_with(entry->d_name, ".tiktoken")) continue;
        found++;
        result = join(out, directory, entry->d_name, detail);
    }
    closedir(listing);
    if (result == STATUS_OK && found != 1)
        result = status_fail(
            detail, STATUS_MODEL,
            "%s: has neither tokenizer.json nor exactly one .tiktoken file (%d found); copy the checkpoint's "
            "tokenizer.json there",
            directory, found);
    return result;
}

typedef status (*reader)(tokenizer *t, const char *data, size_t size, status_detail *detail);

static status build(reader read, const char *data, size_t size, tokenizer **out, status_detail *detail)
{
    tokenizer *t = calloc(1, sizeof *t);
    if (!t) return status_fail(detail, STATUS_INTERNAL, "out of memory for the tokenizer");
    status result = read(t, data, size, detail);
    if (result == STATUS_OK) result = pretokenize_open(&t->split, detail);
    if (result == STATUS_OK)
        *out = t;
    else
        tokenizer_close(t);
    return result;
}

/* JSON begins with a brace, which base64 does not know. A damaged file is judged by its name, so that the error fits. */
static reader reader_for(const char *path, const buffer *content)
{
    size_t blank = strspn(content->data, " \t\r\n");
    return content->data[blank] == '{' || ends_with(path, ".json") ? tokenizer_json_read : tokenizer_tiktoken_read;
}

status tokenizer_open(const char *path, tokenizer **out, status_detail *detail)
{
    char found[PATH_MAX];
    struct stat info;
    buffer content = {0};
    if (stat(path, &info) != 0)
        return status_fail(detail, STATUS_MODEL, "%s: no tokenizer there: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        STATUS_TRY(find_in_directory(path, found, detail));
        path = found;
    }
    STATUS_TRY(tokenizer_file_read(path, &content, detail));
    status result = build(reader_for(path, &content), content.data, content.size, out, detail);
    if (result != STATUS_OK) status_prefix(detail, result, "%s", path);
    buffer_free(&content);
    return result;
}

status tokenizer_parse_json(const char *data, size_t size, tokenizer **out, status_detail *detail)
{
    return build(tokenizer_json_read, data, size, out, detail);
}

status tokenizer_seal(tokenizer *t, status_detail *detail)
{
    for (int byte = 0; byte < 256; byte++) {
        char single = (char)byte;
        t->bpe.byte_ids[byte] = vocab_find(&t->vocab, &single, 1);
        if (t->bpe.byte_ids[byte] < 0)
            return status_fail(detail, STATUS_MODEL,
                               "the vocabulary has no token for the single byte 0x%02X; it is not byte-level", byte);
    }
    STATUS_TRY(vocab_seal(&t->vocab, detail));
    if (!bpe_seal(&t->bpe)) return status_fail(detail, STATUS_INTERNAL, "out of memory for the merge rules");
    return STATUS_OK;
}

void tokenizer_close(tokenizer *t)
{
    if (!t) return;
    pretokenize_close(t->split);
    bpe_free(&t->bpe);
    vocab_free(&t->vocab);
    free(t);
}

/* ---- using ------------------------------------------------------------------------------------------------------- */

int32_t tokenizer_size(const tokenizer *t) { return t->vocab.n_ids; }

static status encode_pieces(const tokenizer *t, pretokenize_scan *scan, id_list *out, status_detail *detail)
{
    while (scan->position < scan->size) {
        size_t start;
        STATUS_TRY(pretokenize_scan_next(scan, &start, detail));
        const char *piece = scan->text + start;
        size_t size = scan->position - start;
        int32_t whole = vocab_find(&t->vocab, piece, size);
        if (!(whole >= 0 ? id_list_push(out, whole) : bpe_encode(&t->bpe, piece, size, out)))
            return status_fail(detail, STATUS_INTERNAL, "out of memory while tokenizing %zu bytes", scan->size);
    }
    return STATUS_OK;
}

status tokenizer_encode(const tokenizer *t, const char *text, size_t size, id_list *out, status_detail *detail)
{
    /* PCRE2 is told not to check, so this is checked here. */
    if (!utf8_valid(text, size)) return status_fail(detail, STATUS_INVALID, "the text is not valid UTF-8");
    size_t before = out->count;
    pretokenize_scan scan = pretokenize_scan_begin(t->split, text, size);
    status result = encode_pieces(t, &scan, out, detail);
    pretokenize_scan_end(&scan);
    if (result != STATUS_OK) out->count = before;
    return result;
}

int32_t tokenizer_special(const tokenizer *t, const char *text) { return vocab_special(&t->vocab, text); }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return vocab_is_special(&t->vocab, id); }

const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *size) { return vocab_bytes(&t->vocab, id, size); }
