/* The text side of rank 0, opened beside the loading of weights because a vocabulary takes a moment. */
#ifndef LAUNCH_SERVE_TEXT_H
#define LAUNCH_SERVE_TEXT_H

#include "runtime/base/status.h"
#include "runtime/text/harmony.h"
#include "runtime/text/tokenizer.h"

typedef struct serve_text serve_text;

/* Starts the thread. `dir`: the checkpoint, "" when there is none: then the vocabulary that comes with the program. Copied. */
status serve_text_start(const char *dir, serve_text **out, status_detail *detail);
/* Waits for the thread. On success both belong to `text` until it is closed; ids past `vocab` (the model's) are STATUS_MODEL. Once. */
status serve_text_wait(serve_text *text, int vocab, const tokenizer **t, const harmony **h, status_detail *detail);
/* Waits if nobody did. NULL is allowed. */
void serve_text_close(serve_text *text);

#endif
