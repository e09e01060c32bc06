/* Which of a repository's files a checkpoint needs. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_HUB_SELECT_H
#define RUNTIME_FETCH_HUB_SELECT_H

#include <stdbool.h>

#include "runtime/fetch/hub_listing.h"

/* The root's configuration, tokenizer, chat template, index and safetensors; with `original`, the folder original/ and the root's tokenizer
 * and chat template. Never other folders. */
bool hub_select_wants(const char *path, bool original);

/* Keeps what is wanted. STATUS_MODEL when no configuration or no safetensors are left, or thousands. */
status hub_select(hub_listing *listing, bool original, status_detail *detail);

#endif
