/* Addresses: written, compared, shown. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_URL_H
#define RUNTIME_FETCH_URL_H

#include <stdbool.h>

#include "runtime/base/buffer.h"

/* Appends `text` with everything percent-encoded but letters, digits, - . _ ~ and the characters of `keep`. False: out of memory. */
bool url_append_escaped(buffer *out, const char *text, const char *keep);

/* Whether this is an absolute http or https address. */
bool url_is_http(const char *url);
/* Whether scheme, host and port are equal; only then a token may go to `a` that was meant for `b`. False when either cannot be read. */
bool url_same_origin(const char *a, const char *b);
/* Whether an answer from `from` may send us on to `to`: http or https, and never from https down to http. */
bool url_may_follow(const char *from, const char *to);

enum { URL_SHOWN = 160 };
/* For messages: without user, query and fragment, for a signed address is a secret. Returns `out`. */
const char *url_show(const char *url, char out[URL_SHOWN]);

#endif
