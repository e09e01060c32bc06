/* What a message typed at the prompt is: something to say, or a command. Pure. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_COMMAND_H
#define LAUNCH_CHAT_COMMAND_H

#include <stdbool.h>

#include "runtime/base/buffer.h"

typedef enum chat_command_kind {
    CHAT_NOTHING, /* only blanks */
    CHAT_MESSAGE,
    CHAT_UNKNOWN, /* looks like a command, and is none */
    CHAT_HELP,
    CHAT_QUIT,
    CHAT_CLEAR,
    CHAT_SYSTEM,
    CHAT_EFFORT,
    CHAT_MODEL,
    CHAT_REASONING,
} chat_command_kind;

typedef struct chat_command {
    chat_command_kind kind;
    const char *text; /* into the message: of a command, what follows its name; of the others, all of it */
} chat_command;

/* A command is a slash and a name at the very start. An unknown one is CHAT_UNKNOWN only if it is a single line: several lines that begin with
 * a slash are pasted source. */
chat_command chat_command_parse(const char *message);

/* "low|medium|high", and whether `word` is one of them. */
extern const char chat_command_efforts[];
bool chat_command_is_effort(const char *word);

/* Appends one line for each command, and "/clear /effort ...". False: out of memory. */
bool chat_command_help(buffer *out);
bool chat_command_names(buffer *out);

#endif
