/* Lines edited by libedit. Its characters come through read_character(): that waits for signals as well, and decodes UTF-8 by itself, since
 * many a container has the C locale. */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/chat_history.h"
#include "launch/chat_input.h"
#include "launch/chat_signals.h"

enum { HISTORY_MOST = 1000, PASTE_MOST = 1 << 20 /* bytes */ };

typedef struct edit_input {
    chat_input base;
    EditLine *line;
    History *history;
    buffer path; /* of the history's file; empty: none */
    int signals;
    bool colour;
    chat_prompt prompt;
    chat_signal stopped; /* what ended the wait for a character */
    bool was_empty;      /* the line, then */
} edit_input;

/* Waits until standard input can be read. False: a signal ends the line. */
static bool await(edit_input *in)
{
    struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = in->signals, .events = POLLIN}};
    for (;;) {
        if (poll(wait, 2, -1) < 0 && errno != EINTR) return false;
        chat_signal came = chat_signals_take(in->signals);
        if (came == CHAT_SIGNAL_REDRAW) {
            el_resize(in->line);
            el_set(in->line, EL_PREP_TERM, 1); /* another program may have had the terminal */
            el_set(in->line, EL_REFRESH);
        } else if (came != CHAT_SIGNAL_NONE) {
            const LineInfo *info = el_line(in->line);
            in->was_empty = info->lastchar == info->buffer;
            in->stopped = came;
            return false;
        }
        if (wait[0].revents) return true;
    }
}

/* el_rfunc_t: 1 a character, 0 the end of the file, -1 none. */
static int read_character(EditLine *line, wchar_t *out)
{
    edit_input *in;
    mbstate_t state = {0};
    el_get(line, EL_CLIENTDATA, &in);
    for (int length = 0; length < 6; length++) {
        char byte;
        if (!await(in)) return -1;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0) return n < 0 ? -1 : 0;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2) continue;
        if (used == (size_t)-1) *out = 0xFFFD;
        return 1;
    }
    *out = 0xFFFD;
    return 1;
}

/* Bound to what a terminal sends ahead of pasted text: all of it up to the other mark goes into the line, newlines too. */
static unsigned char paste(EditLine *line, int key)
{
    static const char mark[] = "\033[201~";
    const size_t n = sizeof mark - 1;
    buffer text = {0};
    bool good = true;
    wchar_t c;
    (void)key;
    while (good && text.size < PASTE_MOST && el_wgetc(line, &c) == 1) {
        char bytes[MB_LEN_MAX];
        int length = wctomb(bytes, c);
        if (length == 1 && *bytes == '\n' && text.size && text.data[text.size - 1] == '\r') continue;
        good = length <= 0 || buffer_append(&text, bytes, (size_t)length);
        if (!good || text.size < n || memcmp(text.data + text.size - n, mark, n) != 0) continue;
        text.size -= n;
        text.data[text.size] = '\0';
        break;
    }
    size_t kept = 0;
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i] == '\r' ? '\n' : text.data[i];
        if ((unsigned char)byte >= ' ' || byte == '\n' || byte == '\t') text.data[kept++] = byte; /* the rest would only disturb the line */
    }
    if (kept) text.data[kept] = '\0';
    if (kept) good = el_insertstr(line, text.data) == 0;
    buffer_free(&text);
    return good ? CC_REFRESH : CC_ERROR;
}

/* Escapes stand between two of these, so that they count as no columns. libedit writes them with the character that follows. */
enum { ESCAPE_MARK = 1 };

static char *prompt_of(EditLine *line)
{
    static char bold_first[] = "\1\033[1m\1>\1\033[0m\1 ", first[] = "> ", more[] = "| ";
    edit_input *in;
    el_get(line, EL_CLIENTDATA, &in);
    return in->prompt == CHAT_PROMPT_MORE ? more : in->colour ? bold_first : first;
}

static chat_input_event edit_line(chat_input *base, chat_prompt prompt, buffer *out)
{
    edit_input *in = (edit_input *)base;
    int length = 0;
    in->prompt = prompt;
    in->stopped = CHAT_SIGNAL_NONE;
    el_set(in->line, EL_PREP_TERM, 1); /* before the prompt, not after it: what is typed at once would be echoed by the terminal */
    fputs("\033[?2004h", stdout); /* pasted text shall come between marks */
    fflush(stdout);
    const char *text = el_gets(in->line, &length);
    fputs("\033[?2004l", stdout);
    if (!text || length <= 0) fputc('\n', stdout);
    fflush(stdout);
    if (in->stopped == CHAT_SIGNAL_INTERRUPT) return in->was_empty ? CHAT_INPUT_INTERRUPT_EMPTY : CHAT_INPUT_INTERRUPT;
    if (!text || length <= 0) return CHAT_INPUT_END;
    length -= text[length - 1] == '\n';
    return buffer_append(out, text, (size_t)length) ? CHAT_INPUT_LINE : CHAT_INPUT_FAILED;
}

static void edit_remember(chat_input *base, const char *message)
{
    edit_input *in = (edit_input *)base;
    HistEvent event;
    history(in->history, &event, H_ENTER, message);
}

static void edit_close(chat_input *base)
{
    edit_input *in = (edit_input *)base;
    if (in->path.size) chat_history_save(in->history, in->path.data);
    if (in->line) el_end(in->line);
    if (in->history) history_end(in->history);
    buffer_free(&in->path);
    free(in);
}

static void set_up(edit_input *in)
{
    HistEvent event;
    EditLine *line = in->line;
    el_set(line, EL_CLIENTDATA, in);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_SIGNAL, 0);
    el_set(line, EL_PROMPT_ESC, prompt_of, ESCAPE_MARK);
    el_set(line, EL_GETCFN, read_character);
    el_set(line, EL_HIST, history, in->history);
    el_wset(line, EL_ADDFN, L"chat-paste", L"Takes pasted text as it is", paste); /* el_set() would leak copies of both texts */
    el_source(line, NULL); /* ~/.editrc */
    el_set(line, EL_BIND, "\\e[200~", "chat-paste", NULL);
    el_set(line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    history(in->history, &event, H_SETSIZE, HISTORY_MOST);
    history(in->history, &event, H_SETUNIQUE, 1);
    if (chat_history_path(&in->path)) chat_history_load(in->history, in->path.data);
}

chat_input *chat_input_edit_open(int signals, bool colour)
{
    const char *terminal = getenv("TERM");
    if (!terminal || !*terminal || strcmp(terminal, "dumb") == 0) return NULL;
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && !setlocale(LC_CTYPE, "C.UTF-8")) return NULL;
    edit_input *in = malloc(sizeof *in);
    if (!in) return NULL;
    *in = (edit_input){.base = {edit_line, edit_remember, edit_close}, .signals = signals, .colour = colour};
    in->history = history_init();
    in->line = in->history ? el_init("gptoss-tp", stdin, stdout, stderr) : NULL;
    if (!in->line) {
        edit_close(&in->base);
        return NULL;
    }
    set_up(in);
    return &in->base;
}
