/* Where messages come from: lines, edited where libedit and a terminal are. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_INPUT_H
#define LAUNCH_CHAT_INPUT_H

#include <stdbool.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

typedef enum chat_input_event {
    CHAT_INPUT_LINE,
    CHAT_INPUT_INTERRUPT,       /* Ctrl-C, and the line is cleared */
    CHAT_INPUT_INTERRUPT_EMPTY, /* Ctrl-C at an empty line */
    CHAT_INPUT_END,             /* Ctrl-D, the end of the file, or a signal to leave */
    CHAT_INPUT_FAILED,          /* out of memory, or it cannot be read */
} chat_input_event;

typedef enum chat_prompt { CHAT_PROMPT_NONE, CHAT_PROMPT_FIRST, CHAT_PROMPT_MORE } chat_prompt;

typedef struct chat_input chat_input;
/* A kind of input. All entries are there. */
struct chat_input {
    /* Appends a line without its newline to `out`; one that was pasted may hold newlines. Waits. */
    chat_input_event (*line)(chat_input *input, chat_prompt prompt, buffer *out);
    /* A message for the history. */
    void (*remember)(chat_input *input, const char *message);
    /* Gives the terminal back, keeps the history, and frees the input. */
    void (*close)(chat_input *input);
};

/* Lines as they are read from standard input; `signals` as of chat_signals_open(), or -1. NULL: out of memory. */
chat_input *chat_input_plain_open(int signals);

/* Editing, history and pasting at the terminal that is standard input and output. NULL: this build has none, the terminal cannot, or out of
 * memory. `colour`: the prompt may be bold. */
chat_input *chat_input_edit_open(int signals, bool colour);

/* A whole message: lines are joined by '\n' where one ends in a backslash, when `prompts`; without, every line is a message and nothing is
 * shown. `out` is emptied first. */
chat_input_event chat_input_message(chat_input *input, bool prompts, buffer *out);

/* The prompt's text. */
const char *chat_input_prompt(chat_prompt prompt);

#endif
