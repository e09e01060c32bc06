/* Lines as they come. Standard input is read through poll(), since a signal shall end the wait; stdio would hide what it has read ahead. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/chat_input.h"
#include "launch/chat_signals.h"

enum { READ_BYTES = 64 << 10 };

typedef struct plain_input {
    chat_input base;
    int signals;
    buffer ahead; /* read and not yet given out */
} plain_input;

/* Up to `n` bytes of the front of what was read ahead go. */
static void take_ahead(buffer *ahead, size_t n)
{
    memmove(ahead->data, ahead->data + n, ahead->size - n);
    ahead->size -= n;
}

/* LINE: more was read. */
static chat_input_event read_more(plain_input *in)
{
    struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = in->signals, .events = POLLIN}};
    for (;;) {
        if (poll(wait, 2, -1) < 0 && errno != EINTR) return CHAT_INPUT_FAILED;
        chat_signal came = chat_signals_take(in->signals);
        if (came == CHAT_SIGNAL_LEAVE) return CHAT_INPUT_END;
        if (came == CHAT_SIGNAL_INTERRUPT) return CHAT_INPUT_INTERRUPT_EMPTY; /* the terminal has dropped the line, and we cannot know it */
        if (wait[0].revents) break;
    }
    if (!buffer_reserve(&in->ahead, READ_BYTES)) return CHAT_INPUT_FAILED;
    ssize_t n = read(STDIN_FILENO, in->ahead.data + in->ahead.size, READ_BYTES);
    if (n < 0) return errno == EINTR || errno == EAGAIN ? CHAT_INPUT_LINE : CHAT_INPUT_FAILED;
    in->ahead.size += (size_t)n;
    return n ? CHAT_INPUT_LINE : CHAT_INPUT_END;
}

static chat_input_event plain_line(chat_input *base, chat_prompt prompt, buffer *out)
{
    plain_input *in = (plain_input *)base;
    fputs(chat_input_prompt(prompt), stdout);
    fflush(stdout);
    for (size_t seen = 0;;) {
        const char *end = in->ahead.size > seen ? memchr(in->ahead.data + seen, '\n', in->ahead.size - seen) : NULL;
        seen = in->ahead.size;
        chat_input_event event = end ? CHAT_INPUT_LINE : read_more(in);
        if (!end && event == CHAT_INPUT_LINE) continue;
        if (!end && (event != CHAT_INPUT_END || !in->ahead.size)) {
            if (prompt != CHAT_PROMPT_NONE) fputc('\n', stdout);
            return event;
        }
        size_t length = end ? (size_t)(end - in->ahead.data) : in->ahead.size;
        if (!buffer_append(out, in->ahead.data, length)) return CHAT_INPUT_FAILED;
        if (out->size && out->data[out->size - 1] == '\r') out->data[--out->size] = '\0';
        take_ahead(&in->ahead, length + (end != NULL));
        return CHAT_INPUT_LINE;
    }
}

static void plain_remember(chat_input *base, const char *message) { (void)base, (void)message; }

static void plain_close(chat_input *base)
{
    plain_input *in = (plain_input *)base;
    buffer_free(&in->ahead);
    free(in);
}

chat_input *chat_input_plain_open(int signals)
{
    plain_input *in = malloc(sizeof *in);
    if (in) *in = (plain_input){.base = {plain_line, plain_remember, plain_close}, .signals = signals};
    return in ? &in->base : NULL;
}
