/* The header of a generated message, `{role}[ to={recipient}][<|channel|>{channel}][ {content_type}]`, as models write
 * it: in any order, glued together, with words that mean nothing. Pure functions over text; the policy is the table in
 * README.md.
 *
 * A header's text is valid UTF-8 without NUL, in which <|channel|> and <|constrain|> stand as text, whether they were
 * special tokens or spelled with ordinary ones.
 */
#ifndef RUNTIME_TEXT_HARMONY_HEADER_H
#define RUNTIME_TEXT_HARMONY_HEADER_H

#include "runtime/text/harmony.h"

/* Bytes of a header. Roles, channels and names of functions need far less. */
enum { HARMONY_HEADER_LIMIT = 1024 };

/* A header and the strings that it points to. Not to be copied. */
typedef struct harmony_header_record {
    harmony_header header;
    char strings[2 * HARMONY_HEADER_LIMIT + 64];
    size_t used;
} harmony_header_record;

/* Reads a header that <|message|> completed; `size` is at most HARMONY_HEADER_LIMIT. `assistant_known`: the role came
 * before this text (the prompt ends with <|start|>assistant). Never fails: a word that means nothing is ignored. */
void harmony_header_parse(const char *text, size_t size, bool assistant_known, const harmony_parser_options *options,
                          harmony_header_record *out);

/* Reads a header that no <|message|> will complete: the model forgot it. What the text says of the channel becomes the
 * header, the rest the content, left in `text` without the white space around it (`more_follows`: only before it);
 * returns the content's size. *found: whether there is such a message; not when the text holds nothing but a role and a
 * channel's name. */
size_t harmony_header_salvage(char *text, size_t size, bool assistant_known, bool more_follows,
                              harmony_header_record *out, bool *found);

/* Whether the text begins with a role that is not the assistant's: a known one, or a function. */
bool harmony_header_is_others(const char *text, size_t size);

/* Whether the text is an answer that began without a header, rather than a header that is not complete yet. */
bool harmony_header_is_prose(const char *text, size_t size);

/* Whether the text so far, complete or not, announces reasoning. */
bool harmony_header_announces_reasoning(const char *text, size_t size);

#endif
