/* The files of one fetch, each with its places on disk and how far it is. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_FETCH_ITEMS_H
#define RUNTIME_FETCH_FETCH_ITEMS_H

#include "runtime/fetch/cache_layout.h"
#include "runtime/fetch/hub_source.h"
#include "runtime/fetch/partial_file.h"

typedef enum item_state {
    ITEM_WAITING,  /* nothing is open */
    ITEM_FETCHING, /* `partial` is open */
    ITEM_CHECKING, /* the checker's: nobody else touches the item but for `file` and the paths */
    ITEM_DONE,     /* the finished file is in its place */
} item_state;

typedef struct fetch_item {
    const hub_file *file; /* of the listing, which must outlive it */
    item_state state;
    char *url;            /* the hub's address */
    char *final, *data, *record; /* paths */
    bool present;         /* [plain] a file of that size lies there already, unchecked; `partial` is NULL while it is checked */
    partial_file *partial;
    int wrong;            /* times its checksum did not fit */
    /* What the checker found: */
    status checked;
    status_detail detail; /* when `checked` is not STATUS_OK */
    bool matches;
    char found[HUB_DIGEST_SIZE];
} fetch_item;

typedef struct fetch_items {
    fetch_item *items; /* each finished file once, though a listing may have it under several paths */
    size_t count;
    int64_t total;     /* bytes of all */
} fetch_items;

/* Looks at what is there. In the cache a finished file of the right size is done: it was checked before it got that name. STATUS_MODEL when
 * the sizes add up to more than can be. Free with fetch_items_free(). */
status fetch_items_make(const hub_listing *listing, const cache_layout *layout, const hub_source *source, const hub_place *place,
                        fetch_items *out, status_detail *detail);
void fetch_items_free(fetch_items *f);

int64_t fetch_items_done(const fetch_items *f);   /* bytes that are here */
int64_t fetch_items_wanted(const fetch_items *f); /* bytes that the disk still has to take */

#endif
