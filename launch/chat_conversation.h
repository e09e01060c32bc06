/* What was said so far, and the request that goes on with it. Pure. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_CONVERSATION_H
#define LAUNCH_CHAT_CONVERSATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct chat_conversation {
    json_t *turns;  /* [{role, content}], without the instructions */
    json_t *system; /* string; NULL: none */
} chat_conversation;

/* All that return bool: false when out of memory, and nothing has changed. Broken UTF-8 in texts becomes U+FFFD. */
bool chat_conversation_open(chat_conversation *c);
void chat_conversation_close(chat_conversation *c);

/* "" takes the instructions away. */
bool chat_conversation_set_system(chat_conversation *c, const char *text);
/* `role`: "user" or "assistant". */
bool chat_conversation_add(chat_conversation *c, const char *role, const char *text, size_t size);
/* Takes the last turn back, if there is one. */
void chat_conversation_drop(chat_conversation *c);
void chat_conversation_clear(chat_conversation *c);

/* The body of a streaming request to /v1/chat/completions, for the caller to free(); `effort` may be NULL: the server's default. NULL: out of
 * memory. */
char *chat_conversation_request(const chat_conversation *c, const char *model, const char *effort);

#endif
