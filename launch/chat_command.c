#include "launch/chat_command.h"

#include <string.h>

static const char blanks[] = " \t\r\n";

static const struct {
    const char *name, *argument, *help;
    chat_command_kind kind;
} commands[] = {
    {"/effort", "low|medium|high", "how long it thinks; alone: what is set", CHAT_EFFORT},
    {"/reasoning", "on|off|fold", "show its reasoning, leave it out, or say only how long it was", CHAT_REASONING},
    {"/system", "TEXT", "instructions ahead of the conversation; alone: none", CHAT_SYSTEM},
    {"/clear", "", "forgets the conversation; the instructions stay", CHAT_CLEAR},
    {"/model", "NAME", "talks to another model; alone: which there are", CHAT_MODEL},
    {"/help", "", "this", CHAT_HELP},
    {"/quit", "", "leaves, as Ctrl-D does", CHAT_QUIT},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

chat_command chat_command_parse(const char *message)
{
    if (!message[strspn(message, blanks)]) return (chat_command){CHAT_NOTHING, message};
    if (message[0] != '/') return (chat_command){CHAT_MESSAGE, message};
    size_t length = strcspn(message, blanks);
    for (int i = 0; i < N_COMMANDS; i++)
        if (strlen(commands[i].name) == length && memcmp(message, commands[i].name, length) == 0)
            return (chat_command){commands[i].kind, message + length + strspn(message + length, blanks)};
    return (chat_command){strchr(message, '\n') ? CHAT_MESSAGE : CHAT_UNKNOWN, message};
}

const char chat_command_efforts[] = "low|medium|high";

bool chat_command_is_effort(const char *word)
{
    return strcmp(word, "low") == 0 || strcmp(word, "medium") == 0 || strcmp(word, "high") == 0;
}

bool chat_command_help(buffer *out)
{
    bool good = true;
    for (int i = 0; i < N_COMMANDS && good; i++)
        good = buffer_printf(out, "  %-10s %-16s %s\n", commands[i].name, commands[i].argument, commands[i].help);
    return good && buffer_append_text(out, "A line that ends in a backslash goes on in the next; what is pasted is one message. Ctrl-C stops an\n"
                                           "answer or clears the line. A blank ahead of a slash makes it no command.\n");
}

bool chat_command_names(buffer *out)
{
    bool good = true;
    for (int i = 0; i < N_COMMANDS && good; i++) good = buffer_printf(out, "%s%s", i ? " " : "", commands[i].name);
    return good;
}
