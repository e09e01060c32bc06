/* Where each thing lies, in the Hugging Face cache and in a plain folder. Pure: makes paths, touches nothing. Internal to runtime/fetch.
 *
 * Cache, as huggingface_hub has it: HUB/models--ORG--NAME/blobs/DIGEST holds the bytes, .../snapshots/COMMIT/PATH is a link to them,
 * .../refs/BRANCH holds COMMIT. Unfinished: blobs/DIGEST.gptoss-part and blobs/DIGEST.gptoss-record; not huggingface_hub's own .incomplete,
 * whose length it takes for the bytes that are there. Plain: DIR/PATH, unfinished in DIR/.gptoss-fetch/.
 */
#ifndef RUNTIME_FETCH_CACHE_LAYOUT_H
#define RUNTIME_FETCH_CACHE_LAYOUT_H

#include <limits.h>
#include <stdbool.h>

#include "runtime/fetch/hub_listing.h"

typedef struct cache_layout {
    bool plain;
    char root[PATH_MAX];   /* the plain folder, or HUB/models--ORG--NAME */
    char files[PATH_MAX];  /* the folder a user opens: root, or root/snapshots/COMMIT */
    char work[PATH_MAX];   /* where unfinished files lie; on the same file system as the finished ones */
    char lock[PATH_MAX];   /* held by the one fetch at a time; its folder is HUB/.locks/models--ORG--NAME, as other tools have it, or `work` */
    char commit[HUB_DIGEST_SIZE];
} cache_layout;

/* `commit` is hexadecimal, `repository` one that hub_cache_is_repository() accepts. STATUS_USAGE when a path is too long. */
status cache_layout_plain(cache_layout *out, const char *dir, const char *commit, status_detail *detail);
status cache_layout_cache(cache_layout *out, const char *hub, const char *repository, const char *commit, status_detail *detail);

/* Paths of one file; each is written to out[PATH_MAX], false when it does not fit. */
bool cache_layout_final(const cache_layout *l, const hub_file *file, char *out);  /* where the finished bytes lie */
bool cache_layout_data(const cache_layout *l, const hub_file *file, char *out);   /* the unfinished ones */
bool cache_layout_record(const cache_layout *l, const hub_file *file, char *out); /* and the record of their parts */
bool cache_layout_link(const cache_layout *l, const hub_file *file, char *out);   /* [not plain] the link to the finished ones */
bool cache_layout_target(const hub_file *file, char *out);                        /* [not plain] what the link says: relative */
bool cache_layout_ref(const cache_layout *l, const char *branch, char *out);      /* [not plain] */

#endif
