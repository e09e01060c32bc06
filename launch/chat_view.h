/* What an answer looks like while it comes in. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_VIEW_H
#define LAUNCH_CHAT_VIEW_H

#include <stdint.h>
#include <stdio.h>

#include "launch/chat_sanitize.h"

typedef enum chat_reasoning { CHAT_REASONING_ON, CHAT_REASONING_OFF, CHAT_REASONING_FOLD } chat_reasoning;

/* "on|off|fold". False: the word is none of them. */
bool chat_view_reasoning_parse(const char *word, chat_reasoning *out);

typedef struct chat_view {
    FILE *out;
    bool interactive;  /* at a terminal; otherwise nothing but answers is written */
    bool colour;       /* dim and bold may be used */
    bool moves;        /* the terminal can take back a line */
    chat_reasoning mode;
    /* Of the answer that is coming in: */
    chat_sanitizer reasoning, answer;
    buffer piece;           /* sanitised, about to be written */
    bool reasons, answers;  /* some of it came */
    bool in_word, open;     /* the last character of the reasoning was none of white space; the cursor is not at a line's start */
    int64_t words;          /* of the reasoning */
    double began, first, last; /* CLOCK_MONOTONIC seconds: the request, the first piece (0: none yet), the last */
    double folded;          /* when the folded line was last written */
} chat_view;

void chat_view_begin(chat_view *v);
/* False: out of memory, or it cannot be written. */
bool chat_view_think(chat_view *v, const char *text, size_t size);
bool chat_view_say(chat_view *v, const char *text, size_t size);
/* The line ends. `tokens` of the whole answer, for the rate; < 0: not known. `note` is added to it; NULL: none. */
bool chat_view_end(chat_view *v, int64_t tokens, const char *note);

/* A line of ours on its own, dim. */
void chat_view_note(chat_view *v, const char *line);
/* An error on standard error. */
void chat_view_error(chat_view *v, const char *line);
void chat_view_free(chat_view *v);

#endif
