/* One message and its answer. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_TURN_H
#define LAUNCH_CHAT_TURN_H

#include "launch/chat_conversation.h"
#include "launch/chat_http.h"
#include "launch/chat_view.h"

typedef struct chat_turn {
    chat_http *http;
    chat_view *view;
    chat_conversation *conversation;
    const char *model, *effort; /* effort: NULL, the server's default */
    chat_signal stopped;        /* out: what broke the answer off */
} chat_turn;

/* Sends what was said so far and `message`, and shows the answer as it comes. What came of the answer stays in the conversation, however it
 * ended; when nothing came, the message is taken back too, so that it can be sent again. */
status chat_turn_run(chat_turn *turn, const char *message, size_t size, status_detail *detail);

#endif
