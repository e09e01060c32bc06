/* Where the local Hugging Face cache lies, and what it calls things.
 *
 * Layout: huggingface/huggingface_hub `file_download.py`, `constants.py`: HUB/models--ORG--NAME/refs/main holds a commit,
 * HUB/models--ORG--NAME/snapshots/COMMIT the files. */
#ifndef RUNTIME_BASE_HUB_CACHE_H
#define RUNTIME_BASE_HUB_CACHE_H

#include <stdbool.h>
#include <stddef.h>

/* "org/name" or "name", of the characters that the hub allows, so that it cannot lead out of the cache. */
bool hub_cache_is_repository(const char *name);

/* HUB: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub: the first that is
 * set. False, and `out` undefined, when none is or it does not fit. */
bool hub_cache_folder(char *out, size_t size);
/* The file that holds the user's token: $HF_TOKEN_PATH, $HF_HOME/token, and so on. It need not exist. */
bool hub_cache_token_path(char *out, size_t size);
/* HUB/models--ORG--NAME, for a name that hub_cache_is_repository() accepts. */
bool hub_cache_repository(char *out, size_t size, const char *hub, const char *name);

#endif
