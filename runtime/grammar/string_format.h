/* The `format`s of strings, as regular expressions of the whole string. */
#ifndef RUNTIME_GRAMMAR_STRING_FORMAT_H
#define RUNTIME_GRAMMAR_STRING_FORMAT_H

#include <stdbool.h>

/* Strings of up to so many characters keep the lengths of a format's parts by themselves. */
enum { STRING_FORMAT_SHORT = 63 };

typedef struct string_format {
    const char *name;
    const char *regex;       /* NULL: it says nothing about the characters ("password") */
    const char *short_regex; /* the same strings among those of up to STRING_FORMAT_SHORT characters, with far fewer
                                states; or NULL */
    unsigned longest;        /* no string of `regex` has more characters; 0: there is no limit */
} string_format;

/* NULL: nobody knows this format. */
const string_format *string_format_find(const char *name);
/* All that are known, separated by commas, for error messages. */
const char *string_format_names(void);

#endif
