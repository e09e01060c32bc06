/* Fetches the bytes of all files over several connections, on the calling thread. Internal to runtime/fetch.
 *
 * Every connection takes the next part that nobody has: of the first file, then of the next, so that none idles while a file ends. A file whose
 * parts are all here goes to the checker's thread. One whose checksum does not fit begins anew, once.
 */
#ifndef RUNTIME_FETCH_TRANSFER_H
#define RUNTIME_FETCH_TRANSFER_H

#include "runtime/fetch/fetch_items.h"
#include "runtime/fetch/http.h"

/* Until every item is ITEM_DONE, or the first failure; what is here by then stays for the next time. Folders for unfinished files are there. */
status transfer_run(const http_settings *http, const fetch_options *options, fetch_items *items, status_detail *detail);

#endif
