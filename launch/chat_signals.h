/* Signals of a chat at a terminal: blocked, and read from a descriptor by whoever waits, so that none is lost between two waits and no handler
 * runs. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_SIGNALS_H
#define LAUNCH_CHAT_SIGNALS_H

#include "runtime/base/status.h"

typedef enum chat_signal {
    CHAT_SIGNAL_NONE,
    CHAT_SIGNAL_INTERRUPT, /* Ctrl-C */
    CHAT_SIGNAL_LEAVE,     /* SIGTERM, or the terminal is gone */
    CHAT_SIGNAL_REDRAW,    /* the window has another size, or we were stopped and go on */
} chat_signal;

/* *fd becomes readable when a signal has come. Blocks them in the calling thread and those it starts. */
status chat_signals_open(int *fd, status_detail *detail);
/* Closes it; the signals stay blocked. */
void chat_signals_close(int fd);

/* The next one, without waiting. `fd` -1: NONE. */
chat_signal chat_signals_take(int fd);

#endif
