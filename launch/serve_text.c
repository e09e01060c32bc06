#include "launch/serve_text.h"

#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/vocabulary.h"

struct serve_text {
    pthread_t thread;
    bool joined;
    char dir[PATH_MAX];
    tokenizer *tokenizer;
    harmony *harmony;
    status result;
    status_detail detail;
};

static bool has_vocabulary(const char *dir)
{
    char path[PATH_MAX + 16];
    glob_t matches;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (access(path, R_OK) == 0) return true;
    snprintf(path, sizeof path, "%s/*.tiktoken", dir);
    bool found = glob(path, 0, NULL, &matches) == 0;
    globfree(&matches);
    return found;
}

/* The checkpoint's own; beside it, for the folder `original` of a checkpoint; else what comes with the program. */
static status find_vocabulary(const char *dir, char out[PATH_MAX], status_detail *detail)
{
    char parent[PATH_MAX + 4];
    if (*dir && has_vocabulary(dir)) return snprintf(out, PATH_MAX, "%s", dir), STATUS_OK;
    snprintf(parent, sizeof parent, "%s/..", dir);
    size_t length = strlen(dir);
    while (length > 0 && dir[length - 1] == '/') length--;
    bool original = length >= 8 && strncmp(dir + length - 8, "original", 8) == 0 && strlen(parent) < PATH_MAX;
    if (original && has_vocabulary(parent)) return memcpy(out, parent, strlen(parent) + 1), STATUS_OK;
    return vocabulary_find(out, PATH_MAX, detail);
}

static void *open_text(void *user)
{
    serve_text *text = user;
    char path[PATH_MAX];
    text->result = find_vocabulary(text->dir, path, &text->detail);
    if (text->result == STATUS_OK) text->result = tokenizer_open(path, &text->tokenizer, &text->detail);
    if (text->result == STATUS_OK) text->result = harmony_open(text->tokenizer, &text->harmony, &text->detail);
    return NULL;
}

status serve_text_start(const char *dir, serve_text **out, status_detail *detail)
{
    serve_text *text = calloc(1, sizeof *text);
    if (!text) return status_fail(detail, STATUS_MACHINE, "out of memory");
    snprintf(text->dir, sizeof text->dir, "%s", dir);
    int error = pthread_create(&text->thread, NULL, open_text, text);
    if (error) {
        free(text);
        return status_fail(detail, STATUS_MACHINE, "cannot start a thread: %s", strerror(error));
    }
    *out = text;
    return STATUS_OK;
}

static void join(serve_text *text)
{
    if (!text->joined) pthread_join(text->thread, NULL);
    text->joined = true;
}

status serve_text_wait(serve_text *text, int vocab, const tokenizer **t, const harmony **h, status_detail *detail)
{
    join(text);
    if (text->result != STATUS_OK) {
        if (detail) *detail = text->detail;
        return text->result;
    }
    if (tokenizer_size(text->tokenizer) > vocab)
        return status_fail(detail, STATUS_MODEL, "%s: the tokenizer has ids up to %d, the model's vocabulary holds %d: they do not belong together",
                           text->dir, tokenizer_size(text->tokenizer) - 1, vocab);
    *t = text->tokenizer;
    *h = text->harmony;
    return STATUS_OK;
}

void serve_text_close(serve_text *text)
{
    if (!text) return;
    join(text);
    harmony_close(text->harmony);
    tokenizer_close(text->tokenizer);
    free(text);
}
