/* The file that keeps what was typed, between one chat and the next. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_HISTORY_H
#define LAUNCH_CHAT_HISTORY_H

#include <histedit.h>
#include <stdbool.h>

#include "runtime/base/buffer.h"

/* $XDG_STATE_HOME/gptoss-tp/chat_history, by default under ~/.local/state. False: out of memory, or there is no home. */
bool chat_history_path(buffer *out);

/* Without a file, or without leave to read or write it, there is no history to keep: a chat goes on all the same. */
void chat_history_load(History *kept, const char *path);
/* Replaces the file as a whole; it and folders that were missing are readable by the user alone. */
void chat_history_save(History *kept, const char *path);

#endif
