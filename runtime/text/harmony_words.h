/* The words of a header, and what a word can be. */
#ifndef RUNTIME_TEXT_HARMONY_WORDS_H
#define RUNTIME_TEXT_HARMONY_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* A part of somebody else's text. {NULL, 0}: absent. */
typedef struct harmony_word {
    const char *text;
    size_t size;
} harmony_word;

bool harmony_words_equal(harmony_word w, const char *text);
/* `w` without `prefix`, or {NULL, 0} when it does not begin so. */
harmony_word harmony_words_after(harmony_word w, const char *prefix);

/* ASCII white space as Rust's is_ascii_whitespace (no vertical tab). */
bool harmony_words_is_space(char c);

/* "system", "developer", "user", "assistant" or "tool" when `w` is that or "{role}:{name}"; else NULL. */
const char *harmony_words_role(harmony_word w);

/* The channel whose name `w` is, or begins with in glued text such as "commentaryto=f", "analysis..." or
 * "analysiscommentary" (the last one counts); *rest is what stands behind it. NULL when `w` begins with none; "finally"
 * is no "final". */
const char *harmony_words_channel(harmony_word w, harmony_word *rest);

/* "json", "code", "text", a media type or <|constrain|>...: a content type even where it stands alone. */
bool harmony_words_is_content_type(harmony_word w);

/* Whether `w` is, begins with, or (when it is not `complete`) may grow into a word of headers. */
bool harmony_words_may_be_header(harmony_word w, bool complete);

/* Takes the next word off *text: up to white space, or to a marker. A <|constrain|> marker begins a word, a <|channel|>
 * marker and the name behind it are one: then *channel is that name (possibly empty) and the word is absent. false at
 * the end of the text. */
bool harmony_words_next(harmony_word *text, harmony_word *word, harmony_word *channel);

#endif
