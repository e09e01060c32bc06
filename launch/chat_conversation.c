#include "launch/chat_conversation.h"

#include <string.h>

#include "runtime/text/utf8.h"

static json_t *repaired(const char *text, size_t size)
{
    buffer valid = {0};
    json_t *string = utf8_repair(text, size, &valid) ? json_stringn(valid.size ? valid.data : "", valid.size) : NULL;
    buffer_free(&valid);
    return string;
}

bool chat_conversation_open(chat_conversation *c)
{
    *c = (chat_conversation){.turns = json_array()};
    return c->turns;
}

void chat_conversation_close(chat_conversation *c)
{
    json_decref(c->system);
    json_decref(c->turns);
    *c = (chat_conversation){0};
}

bool chat_conversation_set_system(chat_conversation *c, const char *text)
{
    json_t *system = *text ? repaired(text, strlen(text)) : NULL;
    if (*text && !system) return false;
    json_decref(c->system);
    c->system = system;
    return true;
}

/* Takes over `content`, also when it fails. */
static bool append_turn(json_t *turns, const char *role, json_t *content)
{
    return content && json_array_append_new(turns, json_pack("{s:s,s:o}", "role", role, "content", content)) == 0;
}

bool chat_conversation_add(chat_conversation *c, const char *role, const char *text, size_t size)
{
    return append_turn(c->turns, role, repaired(text, size));
}

void chat_conversation_drop(chat_conversation *c)
{
    size_t n = json_array_size(c->turns);
    if (n) json_array_remove(c->turns, n - 1);
}

void chat_conversation_clear(chat_conversation *c) { json_array_clear(c->turns); }

char *chat_conversation_request(const chat_conversation *c, const char *model, const char *effort)
{
    char *text = NULL;
    json_t *messages = json_array();
    bool good = messages && (!c->system || append_turn(messages, "system", json_incref(c->system))) &&
                json_array_extend(messages, c->turns) == 0;
    json_t *request = good ? json_pack("{s:o,s:O,s:b,s:{s:b}}", "model", repaired(model, strlen(model)), "messages", messages, "stream", 1,
                                       "stream_options", "include_usage", 1)
                           : NULL;
    good = request && (!effort || json_object_set_new(request, "reasoning_effort", json_string(effort)) == 0);
    if (good) text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    json_decref(messages);
    return text;
}
