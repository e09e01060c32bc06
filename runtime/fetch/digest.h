/* Checksums of files, by OpenSSL. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_DIGEST_H
#define RUNTIME_FETCH_DIGEST_H

#include <stdatomic.h>
#include <stdbool.h>

#include "runtime/fetch/hub_listing.h"

/* The checksum of the first `size` bytes of `fd` as lower-case hexadecimal. `stop` is looked at between blocks: once true, STATUS_BUSY.
 * `name` stands for the file in messages. STATUS_MACHINE when it cannot be read, or is shorter. */
status digest_file(int fd, int64_t size, hub_digest kind, const char *name, const atomic_bool *stop, char out[HUB_DIGEST_SIZE],
                   status_detail *detail);

/* A name of 40 hexadecimal digits for what a listing holds, for hubs that name no commit: equal only for equal paths and checksums. */
status digest_listing(const hub_listing *listing, char out[HUB_DIGEST_SIZE], status_detail *detail);

#endif
