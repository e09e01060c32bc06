/* gptoss-tp chat: talks to a running server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/arguments.h"
#include "launch/chat_chunk.h"
#include "launch/chat_command.h"
#include "launch/chat_input.h"
#include "launch/chat_turn.h"
#include "launch/verb.h"

enum { MODELS_MOST = 1 << 20 /* bytes of an answer of /v1/models */ };

typedef struct chat {
    chat_http http;
    chat_view view;
    chat_conversation conversation;
    chat_input *input;
    char *model;        /* owned */
    const char *effort; /* NULL: the server's default */
    int signals;        /* -1: none are watched */
    bool leaving;
} chat;

static status take_models(void *user, const char *bytes, size_t size, status_detail *detail)
{
    buffer *body = user;
    if (size > MODELS_MOST - body->size) return status_fail(detail, STATUS_PEER, "/v1/models: the answer is larger than %d bytes", MODELS_MOST);
    return buffer_append(body, bytes, size) ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "out of memory");
}

/* Strings, of which there is at least one; NULL with STATUS_OK: stopped by a signal. */
static status list_models(chat *c, json_t **names, status_detail *detail)
{
    buffer body = {0};
    chat_http_request request = {.path = "/v1/models", .take = take_models, .user = &body};
    *names = NULL;
    status result = chat_http_run(&c->http, &request, detail);
    c->leaving |= request.stopped == CHAT_SIGNAL_LEAVE;
    if (result == STATUS_OK && request.stopped == CHAT_SIGNAL_NONE) result = chat_chunk_models(body.data ? body.data : "", body.size, names, detail);
    buffer_free(&body);
    return result;
}

static status set_model(chat *c, const char *name, status_detail *detail)
{
    char *copy = strdup(name);
    if (!copy) return status_fail(detail, STATUS_MACHINE, "out of memory");
    free(c->model);
    c->model = copy;
    return STATUS_OK;
}

/* The first that the server names, unless one was given; asked for all the same, since it tells early whether there is a server. */
static status choose_model(chat *c, const char *given, status_detail *detail)
{
    json_t *names;
    STATUS_TRY(list_models(c, &names, detail));
    if (!names) {
        c->leaving = true;
        return STATUS_OK;
    }
    status result = set_model(c, given ? given : json_string_value(json_array_get(names, 0)), detail);
    json_decref(names);
    return result;
}

static void show_name(chat *c, const char *prefix, const char *name)
{
    buffer line = {0};
    if (buffer_append_text(&line, prefix) && chat_sanitize_line(name, strlen(name), 200, &line)) chat_view_note(&c->view, line.data);
    buffer_free(&line);
}

static status show_models(chat *c, status_detail *detail)
{
    json_t *names, *name;
    size_t i;
    STATUS_TRY(list_models(c, &names, detail));
    json_array_foreach(names, i, name)
        show_name(c, strcmp(json_string_value(name), c->model) == 0 ? "* " : "  ", json_string_value(name));
    json_decref(names);
    return STATUS_OK;
}

static status set_effort(chat *c, const char *word, status_detail *detail)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    char line[64];
    if (*word && !chat_command_is_effort(word))
        return status_fail(detail, STATUS_USAGE, "/effort: found '%.64s', allowed is %s", word, chat_command_efforts);
    for (int i = 0; *word && i < 3; i++)
        if (strcmp(word, efforts[i]) == 0) c->effort = efforts[i];
    snprintf(line, sizeof line, "effort: %s", c->effort ? c->effort : "the server's default");
    chat_view_note(&c->view, line);
    return STATUS_OK;
}

static status set_reasoning(chat *c, const char *word, status_detail *detail)
{
    char line[64];
    if (!chat_view_reasoning_parse(word, &c->view.mode))
        return status_fail(detail, STATUS_USAGE, "/reasoning: found '%.64s', allowed is on|off|fold", word);
    snprintf(line, sizeof line, "reasoning: %s", word);
    chat_view_note(&c->view, line);
    return STATUS_OK;
}

static status show_help(status_detail *detail)
{
    buffer text = {0};
    bool good = chat_command_help(&text);
    if (good) fputs(text.data, stdout);
    buffer_free(&text);
    return good ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "out of memory");
}

static status refuse_command(const char *text, status_detail *detail)
{
    buffer names = {0}, word = {0};
    bool good = chat_command_names(&names) && chat_sanitize_line(text, strcspn(text, " \t"), 64, &word);
    status result = good ? status_fail(detail, STATUS_USAGE, "%s is no command; there are %s (a blank ahead of the slash makes it a message)",
                                       word.data, names.data)
                         : status_fail(detail, STATUS_MACHINE, "out of memory");
    buffer_free(&word);
    buffer_free(&names);
    return result;
}

static status say(chat *c, const char *message, size_t size, status_detail *detail)
{
    chat_turn turn = {.http = &c->http, .view = &c->view, .conversation = &c->conversation, .model = c->model, .effort = c->effort};
    status result = chat_turn_run(&turn, message, size, detail);
    c->leaving |= turn.stopped == CHAT_SIGNAL_LEAVE;
    return result;
}

static status obey(chat *c, const buffer *message, status_detail *detail)
{
    chat_command command = chat_command_parse(message->data);
    switch (command.kind) {
    case CHAT_NOTHING: return STATUS_OK;
    case CHAT_MESSAGE: return say(c, message->data, message->size, detail);
    case CHAT_HELP: return show_help(detail);
    case CHAT_EFFORT: return set_effort(c, command.text, detail);
    case CHAT_REASONING: return set_reasoning(c, command.text, detail);
    case CHAT_UNKNOWN: return refuse_command(message->data, detail);
    case CHAT_QUIT:
        c->leaving = true;
        return STATUS_OK;
    case CHAT_CLEAR:
        chat_conversation_clear(&c->conversation);
        chat_view_note(&c->view, "the conversation is forgotten");
        return STATUS_OK;
    case CHAT_SYSTEM:
        if (!chat_conversation_set_system(&c->conversation, command.text)) return status_fail(detail, STATUS_MACHINE, "out of memory");
        chat_view_note(&c->view, *command.text ? "instructions set" : "instructions taken away");
        return STATUS_OK;
    case CHAT_MODEL:
        if (!*command.text) return show_models(c, detail);
        STATUS_TRY(set_model(c, command.text, detail));
        show_name(c, "model: ", c->model);
        return STATUS_OK;
    }
    return status_fail(detail, STATUS_INTERNAL, "a command without meaning");
}

/* At a terminal: an error is told, and the conversation goes on. */
static status talk(chat *c, status_detail *detail)
{
    buffer message = {0};
    status result = STATUS_OK;
    for (int interrupts = 0; !c->leaving && result == STATUS_OK;) {
        status_detail problem;
        chat_input_event event = chat_input_message(c->input, true, &message);
        if (event == CHAT_INPUT_END) break;
        if (event == CHAT_INPUT_FAILED) result = status_fail(detail, STATUS_MACHINE, "standard input cannot be read, or memory is short");
        interrupts = event == CHAT_INPUT_INTERRUPT_EMPTY ? interrupts + 1 : 0;
        if (interrupts == 2) break;
        if (interrupts == 1) chat_view_note(&c->view, "(Ctrl-C once more, Ctrl-D or /quit leaves)");
        if (event != CHAT_INPUT_LINE) continue;
        if (chat_command_parse(message.data).kind != CHAT_NOTHING) c->input->remember(c->input, message.data);
        if (obey(c, &message, &problem) != STATUS_OK) chat_view_error(&c->view, problem.text);
    }
    buffer_free(&message);
    return result;
}

/* In a pipe: every line is a message, and the first error ends it, as later lines count on earlier answers. */
static status answer_lines(chat *c, status_detail *detail)
{
    buffer message = {0};
    status result = STATUS_OK;
    while (result == STATUS_OK) {
        chat_input_event event = chat_input_message(c->input, false, &message);
        if (event == CHAT_INPUT_FAILED) result = status_fail(detail, STATUS_MACHINE, "standard input cannot be read, or memory is short");
        if (event != CHAT_INPUT_LINE) break;
        if (chat_command_parse(message.data).kind != CHAT_NOTHING) result = say(c, message.data, message.size, detail);
    }
    buffer_free(&message);
    return result;
}

static void greet(chat *c)
{
    show_name(c, "talking to ", c->model);
    chat_view_note(&c->view, "/help lists the commands, Ctrl-D leaves");
}

static void close_all(chat *c)
{
    if (c->input) c->input->close(c->input);
    chat_conversation_close(&c->conversation);
    chat_http_close(&c->http);
    chat_view_free(&c->view);
    chat_signals_close(c->signals);
    free(c->model);
}

static status open_input(chat *c, status_detail *detail)
{
    if (c->view.interactive) c->input = chat_input_edit_open(c->signals, c->view.colour);
    if (!c->input) c->input = chat_input_plain_open(c->signals);
    return c->input ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "out of memory");
}

static status chat_verb_run(int argc, char **argv, verb_failure *failure)
{
    status_detail *detail = &failure->detail;
    const char *url = "http://127.0.0.1:8000", *model = NULL, *system = "", *key_file = NULL, *effort = NULL, *word = NULL;
    const argument own[] = {
        {.flag = "--url", .type = ARGUMENT_TEXT, .to = &url},       {.flag = "--model", .type = ARGUMENT_TEXT, .to = &model},
        {.flag = "--system", .type = ARGUMENT_TEXT, .to = &system}, {.flag = "--effort", .type = ARGUMENT_TEXT, .to = &effort},
        {.flag = "--api-key-file", .type = ARGUMENT_TEXT, .to = &key_file},
    };
    arguments a = {.flags = own, .n_flags = sizeof own / sizeof *own, .positional_name = "URL", .positional = &word};
    STATUS_TRY(arguments_parse(&a, argc, argv, detail));
    if (word) url = word;
    if (effort && !chat_command_is_effort(effort))
        return status_fail(detail, STATUS_USAGE, "--effort: found '%.64s', allowed is %s", effort, chat_command_efforts);
    const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    bool interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO), moves = interactive && terminal && *terminal && strcmp(terminal, "dumb") != 0;
    chat c = {.view = {.out = stdout, .interactive = interactive, .moves = moves, .colour = moves && !(no_colour && *no_colour)},
              .effort = effort, .signals = -1};
    status result = interactive ? chat_signals_open(&c.signals, detail) : STATUS_OK;
    if (result == STATUS_OK) result = chat_http_open(url, key_file, c.signals, &c.http, detail);
    if (result == STATUS_OK && (!chat_conversation_open(&c.conversation) || !chat_conversation_set_system(&c.conversation, system)))
        result = status_fail(detail, STATUS_MACHINE, "out of memory");
    if (result == STATUS_OK) result = choose_model(&c, model, detail);
    if (result == STATUS_OK && !c.leaving) result = open_input(&c, detail);
    if (result == STATUS_OK && !c.leaving) {
        if (interactive) greet(&c);
        result = interactive ? talk(&c, detail) : answer_lines(&c, detail);
    }
    close_all(&c);
    return result;
}

const verb verb_chat = {
    .name = "chat",
    .synopsis = "[--url http://127.0.0.1:8000] [--model NAME] [--system TEXT] [--effort low|medium|high] [--api-key-file F]",
    .summary = "talks to a running server in the terminal; in a pipe, answers every line",
    .flags = "  --url URL         of the server; default http://127.0.0.1:8000\n"
             "  --model NAME      default: the first that the server names\n"
             "  --system TEXT     instructions ahead of the conversation\n"
             "  --effort E        how long it thinks: low, medium or high; default: the server's\n"
             "  --api-key-file F  its first line is the key for a server that wants one\n"
             "\nIn a chat, /help lists the commands. Environment: NO_COLOR; XDG_STATE_HOME (where the history of what was typed lies).\n",
    .alone = true,
    .run = chat_verb_run,
};
