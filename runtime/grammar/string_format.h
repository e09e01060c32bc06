/* The `format`s of strings, as regular expressions of the whole string. */
#ifndef RUNTIME_GRAMMAR_STRING_FORMAT_H
#define RUNTIME_GRAMMAR_STRING_FORMAT_H

#include <stdbool.h>

/* False: nobody knows this format. *regex NULL: a format that says nothing about the characters ("password"). The texts are constant. */
bool string_format_find(const char *name, const char **regex);
/* All that are known, separated by commas, for error messages. */
const char *string_format_names(void);

#endif
