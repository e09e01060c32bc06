/* The one table of options behind settings.h, and what works on single rows of it. Internal to runtime/base. */
#ifndef RUNTIME_BASE_SETTINGS_TABLE_H
#define RUNTIME_BASE_SETTINGS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/settings.h"

typedef enum settings_type {
    SETTINGS_BOOL,   /* bool */
    SETTINGS_INT,    /* int64_t within least..most */
    SETTINGS_BYTES,  /* int64_t within least..most, written as bytes.h reads it */
    SETTINGS_CHOICE, /* an enum or int: the place of the word in `choices` */
    SETTINGS_TEXT,   /* char *, owned */
    SETTINGS_LIST,   /* settings_list, owned: one text or a sequence of texts */
} settings_type;

typedef struct settings_option {
    const char *key;     /* "section.name", or "name" at the top of the file */
    settings_type type;
    size_t offset;       /* of the destination in `settings` */
    const char *initial; /* the default, written as in the file; NULL: null, which is then an allowed value too */
    int64_t least, most; /* INT, BYTES: inclusive */
    bool may_be_auto;    /* INT, BYTES: the word auto stands for SETTINGS_AUTO */
    const char *choices; /* CHOICE: words separated by '|' */
    const char *flag;    /* "--port"; NULL: only --set */
    const char *help;    /* one line */
} settings_option;

enum { SETTINGS_MAX_OPTIONS = 64 };

/* The rows, in the order of --help; sections stand together. At most SETTINGS_MAX_OPTIONS. */
const settings_option *settings_table(size_t *count);

/* One scalar as written. Quotes decide: 8000 may be a number, "8000" is a text; "null" in quotes is not null. */
typedef struct settings_scalar {
    const char *text;
    bool quoted;
} settings_scalar;

bool settings_is_null(const settings_scalar *value);

/* Sets the row's destination from `count` scalars: one, or for SETTINGS_LIST any number (null: none). STATUS_USAGE: "found X, allowed Y",
 * destination untouched; the caller puts place and key in front. */
status settings_assign(settings *s, const settings_option *option, const settings_scalar *values, size_t count, status_detail *detail);

/* The row of that key, or NULL. */
const settings_option *settings_find(const char *key);
/* Whether some key is "NAME.something". */
bool settings_is_section(const char *name);
/* The key that was probably meant, or NULL: close to `key` as a whole, or with the same or a close last part. */
const char *settings_nearest_key(const char *key);

/* "an integer from 0 to 65535", ...: what a row allows. Returns `out`. */
const char *settings_allowed(const settings_option *option, char *out, size_t size);

enum { SETTINGS_SHOWN = 96 };
/* Foreign text for a message: in single quotes, cut, without control characters. Returns `out`. */
const char *settings_show(const char *text, char out[SETTINGS_SHOWN]);

#endif
