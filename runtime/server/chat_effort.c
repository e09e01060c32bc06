#include "runtime/server/chat_effort.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_' || c == '-'; }

static size_t skip_blanks(const char *line, size_t size, size_t at)
{
    while (at < size && (line[at] == ' ' || line[at] == '\t' || line[at] == '\r')) at++;
    return at;
}

/* Reads "reasoning: EFFORT" at `at`; returns its end, or 0. */
static size_t read_phrase(const char *line, size_t size, size_t at, harmony_effort *effort)
{
    static const char *const names[] = {"low", "medium", "high"}; /* in the order of harmony_effort */
    static const char key[] = "reasoning";
    const size_t key_size = sizeof key - 1;
    if (size - at <= key_size || strncasecmp(line + at, key, key_size)) return 0;
    size_t i = skip_blanks(line, size, at + key_size);
    if (i >= size || line[i] != ':') return 0;
    i = skip_blanks(line, size, i + 1);
    for (int k = 0; k < 3; k++) {
        size_t n = strlen(names[k]);
        if (size - i < n || strncasecmp(line + i, names[k], n) || (size - i > n && is_word(line[i + n]))) continue;
        *effort = (harmony_effort)k;
        return i + n;
    }
    return 0;
}

/* Whether the line names an effort; *alone: it says nothing else. */
static bool scan_line(const char *line, size_t size, harmony_effort *effort, bool *alone)
{
    bool found = false;
    *alone = false;
    for (size_t i = 0; i < size; i++) {
        if ((line[i] | 0x20) != 'r' || (i && is_word(line[i - 1]))) continue;
        size_t end = read_phrase(line, size, i, effort);
        if (!end) continue;
        found = true;
        *alone = skip_blanks(line, size, 0) == i && skip_blanks(line, size, end) == size;
        i = end - 1;
    }
    return found;
}

bool chat_effort_extract(const char *text, size_t size, bool *found, harmony_effort *effort, buffer *out)
{
    size_t start = out->size;
    bool removed_last = false, good = true;
    for (size_t at = 0; at < size && good;) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - text) - at : size - at, step = length + (newline ? 1 : 0);
        bool alone = false, blank = skip_blanks(text + at, length, 0) == length;
        if (scan_line(text + at, length, effort, &alone)) *found = true;
        bool after_blank = out->size == start || (out->size - start >= 2 && !memcmp(out->data + out->size - 2, "\n\n", 2));
        bool dropped = alone || (blank && removed_last && after_blank);
        if (!dropped) good = buffer_append(out, text + at, step);
        removed_last = alone;
        at += step;
        if (at == size && alone)
            while (out->size > start && out->data[out->size - 1] == '\n') out->data[--out->size] = '\0';
    }
    return good;
}
