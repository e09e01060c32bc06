#include "runtime/text/harmony_words.h"

#include <string.h>

#include "runtime/text/harmony_internal.h"

static const char *const role_names[] = {"system", "developer", "user", "assistant", "tool"};
static const char *const channel_names[] = {"analysis", "commentary", "final"};
static const char *const type_names[] = {"json", "code", "text"};
#define COUNT(names) (sizeof(names) / sizeof(names)[0])

bool harmony_words_equal(harmony_word w, const char *text)
{
    return w.size == strlen(text) && memcmp(w.text, text, w.size) == 0;
}

harmony_word harmony_words_after(harmony_word w, const char *prefix)
{
    size_t size = strlen(prefix);
    if (w.size < size || memcmp(w.text, prefix, size) != 0) return (harmony_word){NULL, 0};
    return (harmony_word){w.text + size, w.size - size};
}

bool harmony_words_is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (unsigned char)c >= 0x80;
}

const char *harmony_words_role(harmony_word w)
{
    for (size_t i = 0; i < COUNT(role_names); i++) {
        harmony_word rest = harmony_words_after(w, role_names[i]);
        if (rest.text && (rest.size == 0 || rest.text[0] == ':')) return role_names[i];
    }
    return NULL;
}

const char *harmony_words_channel(harmony_word w, harmony_word *rest)
{
    for (size_t i = 0; i < COUNT(channel_names); i++) {
        harmony_word behind = harmony_words_after(w, channel_names[i]);
        if (!behind.text) continue;
        const char *later = behind.size ? harmony_words_channel(behind, rest) : NULL;
        if (later) return later;
        if (behind.size && is_name_character(behind.text[0]) && !harmony_words_after(behind, "to=").text) return NULL;
        *rest = behind;
        return channel_names[i];
    }
    return NULL;
}

bool harmony_words_is_content_type(harmony_word w)
{
    if (harmony_words_after(w, HARMONY_CONSTRAIN_MARKER).text) return true;
    for (size_t i = 0; i < COUNT(type_names); i++)
        if (harmony_words_equal(w, type_names[i])) return true;
    return !harmony_words_after(w, "to=").text && memchr(w.text, '/', w.size);
}

static bool resembles(harmony_word w, const char *name, bool complete)
{
    size_t size = strlen(name);
    return harmony_words_after(w, name).text || (!complete && w.size < size && memcmp(w.text, name, w.size) == 0);
}

bool harmony_words_may_be_header(harmony_word w, bool complete)
{
    for (size_t i = 0; i < COUNT(role_names); i++)
        if (resembles(w, role_names[i], complete)) return true;
    for (size_t i = 0; i < COUNT(channel_names); i++)
        if (resembles(w, channel_names[i], complete)) return true;
    for (size_t i = 0; i < COUNT(type_names); i++)
        if (resembles(w, type_names[i], complete)) return true;
    return resembles(w, "to=", complete) || resembles(w, ":", complete);
}

static harmony_word skip(harmony_word w, size_t n) { return (harmony_word){w.text + n, w.size - n}; }

bool harmony_words_next(harmony_word *text, harmony_word *word, harmony_word *channel)
{
    *word = *channel = (harmony_word){NULL, 0};
    while (text->size && harmony_words_is_space(text->text[0])) *text = skip(*text, 1);
    if (text->size == 0) return false;

    size_t size = 0;
    harmony_word behind = harmony_words_after(*text, HARMONY_CHANNEL_MARKER);
    if (behind.text) {
        while (size < behind.size && !harmony_words_is_space(behind.text[size]) && behind.text[size] != '<') size++;
        *channel = (harmony_word){behind.text, size};
        *text = skip(behind, size);
        return true;
    }
    if (harmony_words_after(*text, HARMONY_CONSTRAIN_MARKER).text) size = strlen(HARMONY_CONSTRAIN_MARKER);
    while (size < text->size && !harmony_words_is_space(text->text[size])) {
        harmony_word here = skip(*text, size);
        if (size && (harmony_words_after(here, HARMONY_CONSTRAIN_MARKER).text ||
                     harmony_words_after(here, HARMONY_CHANNEL_MARKER).text))
            break;
        size++;
    }
    *word = (harmony_word){text->text, size};
    *text = skip(*text, size);
    return true;
}
