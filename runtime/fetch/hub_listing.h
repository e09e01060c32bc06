/* What a hub says it holds: the files of one revision with size and checksum. Pure functions over (data, size). Internal to runtime/fetch.
 *
 * Answers as huggingface/huggingface_hub `hf_api.py` (list_repo_tree, RepoFile) and modelscope/modelscope `hub/api.py` (get_model_files)
 * read them. Nothing in them is trusted: a path that leads out of the folder, a size below zero, a checksum of the wrong form, or a path
 * that comes twice refuses the listing.
 */
#ifndef RUNTIME_FETCH_HUB_LISTING_H
#define RUNTIME_FETCH_HUB_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

typedef enum hub_digest {
    HUB_SHA256,   /* of the bytes */
    HUB_GIT_BLOB, /* git's SHA-1 of a blob: of "blob SIZE", a NUL, and the bytes */
} hub_digest;

enum { HUB_DIGEST_SIZE = 65 /* hexadecimal digits of the longest, and a NUL */, HUB_MOST_FILES = 100000 };

typedef struct hub_file {
    char *path;   /* safe: hub_path_is_safe() */
    int64_t size; /* bytes, >= 0 */
    hub_digest kind;
    char digest[HUB_DIGEST_SIZE]; /* lower-case hexadecimal */
} hub_file;

/* {0} is an empty one. */
typedef struct hub_listing {
    hub_file *files;
    size_t count, capacity;
} hub_listing;

/* Adds one page's files; directories are passed over. STATUS_MODEL when the page is malformed or hostile, and the listing is as before. */
status hub_listing_add_huggingface(hub_listing *listing, const char *data, size_t size, status_detail *detail);
status hub_listing_add_modelscope(hub_listing *listing, const char *data, size_t size, status_detail *detail);
/* After the last page: sorts by path. STATUS_MODEL when a path is there twice. */
status hub_listing_finish(hub_listing *listing, status_detail *detail);
void hub_listing_free(hub_listing *listing);

/* {"sha": "..."} of a revision. */
status hub_listing_commit(const char *data, size_t size, char out[HUB_DIGEST_SIZE], status_detail *detail);

/* The address with rel="next" of a Link header's value (RFC 8288), appended to `out`; false when there is none. */
bool hub_listing_next(const char *value, size_t size, buffer *out);

#endif
