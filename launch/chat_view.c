#include "launch/chat_view.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double FOLD_SECONDS = 0.1; /* between two writings of the folded line */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool chat_view_reasoning_parse(const char *word, chat_reasoning *out)
{
    static const char *const words[] = {[CHAT_REASONING_ON] = "on", [CHAT_REASONING_OFF] = "off", [CHAT_REASONING_FOLD] = "fold"};
    for (int i = 0; i < 3; i++)
        if (strcmp(word, words[i]) == 0) {
            *out = (chat_reasoning)i;
            return true;
        }
    return false;
}

static const char *dim(const chat_view *v) { return v->colour ? "\033[2m" : ""; }
static const char *plain(const chat_view *v) { return v->colour ? "\033[0m" : ""; }

void chat_view_begin(chat_view *v)
{
    v->reasoning = v->answer = (chat_sanitizer){0};
    v->reasons = v->answers = v->in_word = v->open = false;
    v->words = 0;
    v->first = v->last = v->folded = 0;
    v->began = now();
}

static bool flush(chat_view *v) { return fflush(v->out) == 0 && !ferror(v->out); }

static void piece_came(chat_view *v)
{
    v->last = now();
    if (v->first == 0) v->first = v->last;
}

/* Writes v->piece and empties it. */
static bool write_piece(chat_view *v)
{
    if (v->piece.size) {
        fwrite(v->piece.data, 1, v->piece.size, v->out);
        v->open = v->piece.data[v->piece.size - 1] != '\n';
    }
    buffer_clear(&v->piece);
    return flush(v);
}

static void count_words(chat_view *v, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool blank = strchr(" \t\n", text[i]) != NULL; /* a NUL too */
        v->words += !blank && !v->in_word;
        v->in_word = !blank;
    }
}

static bool write_folded(chat_view *v)
{
    fprintf(v->out, "%s%sthought for %" PRId64 " word%s%s", v->moves ? "\r\033[K" : "", dim(v), v->words, v->words == 1 ? "" : "s", plain(v));
    v->open = true;
    v->folded = v->last;
    return flush(v);
}

bool chat_view_think(chat_view *v, const char *text, size_t size)
{
    bool first = !v->reasons;
    if (!size) return true;
    piece_came(v);
    v->reasons = true;
    count_words(v, text, size);
    if (!v->interactive || v->answers || v->mode == CHAT_REASONING_OFF) return true;
    if (v->mode == CHAT_REASONING_FOLD) return !v->moves || v->last - v->folded < FOLD_SECONDS || write_folded(v);
    if (!chat_sanitize_push(&v->reasoning, text, size, &v->piece)) return false;
    fprintf(v->out, "%s%s", first && !v->colour ? "(thinking) " : "", dim(v));
    bool good = write_piece(v);
    fputs(plain(v), v->out);
    return good && flush(v);
}

/* What was shown of the reasoning ends, and an empty line sets the answer apart. */
static void end_reasoning(chat_view *v)
{
    if (!v->interactive || !v->reasons || v->mode == CHAT_REASONING_OFF) return;
    if (v->mode == CHAT_REASONING_FOLD) write_folded(v);
    fputs(v->open ? "\n\n" : "\n", v->out);
    v->open = false;
}

bool chat_view_say(chat_view *v, const char *text, size_t size)
{
    if (!size) return true;
    piece_came(v);
    if (!v->answers) end_reasoning(v);
    v->answers = true;
    return chat_sanitize_push(&v->answer, text, size, &v->piece) && write_piece(v);
}

bool chat_view_end(chat_view *v, int64_t tokens, const char *note)
{
    if (v->answers) {
        if (!chat_sanitize_finish(&v->answer, &v->piece) || !write_piece(v)) return false;
    } else {
        end_reasoning(v);
    }
    if (v->open || (!v->interactive && !v->answers)) fputc('\n', v->out);
    v->open = false;
    if (!v->interactive) return flush(v);
    fprintf(v->out, "%s[", dim(v));
    if (tokens >= 0) fprintf(v->out, "%" PRId64 " tokens", tokens);
    /* The first token's time is the prompt's, so it tells nothing of the rate. */
    if (tokens > 1 && v->last > v->first) fprintf(v->out, ", %.1f tokens/s", (double)(tokens - 1) / (v->last - v->first));
    if (v->first > 0) fprintf(v->out, "%sthe first after %.2f s", tokens >= 0 ? ", " : "", v->first - v->began);
    if (note) fprintf(v->out, "%s%s", tokens >= 0 || v->first > 0 ? "; " : "", note);
    fprintf(v->out, "]%s\n", plain(v));
    return flush(v);
}

void chat_view_note(chat_view *v, const char *line)
{
    if (v->interactive) fprintf(v->out, "%s%s%s\n", dim(v), line, plain(v));
    fflush(v->out);
}

void chat_view_error(chat_view *v, const char *line)
{
    if (v->open) fputc('\n', v->out);
    v->open = false;
    fflush(v->out);
    bool red = v->colour && isatty(STDERR_FILENO);
    fprintf(stderr, "%s%s%s\n", red ? "\033[31m" : "", line, red ? "\033[0m" : "");
}

void chat_view_free(chat_view *v) { buffer_free(&v->piece); }
