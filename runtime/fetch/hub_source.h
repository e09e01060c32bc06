/* The hubs: one row each. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_HUB_SOURCE_H
#define RUNTIME_FETCH_HUB_SOURCE_H

#include "runtime/fetch/hub_listing.h"

/* What addresses are made of. */
typedef struct hub_place {
    const char *endpoint;   /* "https://huggingface.co", no '/' at its end */
    const char *repository; /* as the user names it */
    const char *revision;   /* branch, tag or commit */
} hub_place;

typedef struct hub_source {
    const char *name;
    const char *endpoint_variable, *endpoint; /* the environment's wins */
    const char *default_branch;
    const char *token_variables[2]; /* the first that is set; NULL: none */
    bool token_file;                /* else the one of hub_cache_token_path() */
    /* Who carries the owner's models under another name there: {theirs, here}; NULL: nobody. */
    const char *owner[2];
    /* Each appends an address; false: out of memory. commit_url may be NULL: the hub names no commit. */
    bool (*commit_url)(const struct hub_source *s, const hub_place *place, buffer *out);
    bool (*listing_url)(const struct hub_source *s, const hub_place *place, buffer *out);
    bool (*file_url)(const struct hub_source *s, const hub_place *place, const char *path, buffer *out);
    /* Adds a page of the listing. */
    status (*add_page)(hub_listing *listing, const char *data, size_t size, status_detail *detail);
} hub_source;

/* The row of that name (NULL: the first), or NULL. */
const hub_source *hub_source_find(const char *name);
/* "huggingface|modelscope" */
const char *hub_source_names(void);

#endif
