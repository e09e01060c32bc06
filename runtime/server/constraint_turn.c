#include "runtime/server/constraint_turn.h"

#include <stdlib.h>
#include <string.h>

void constraint_rules_free(constraint_rules *r)
{
    for (size_t i = 0; i < r->n_functions; i++) {
        if (r->arguments) grammar_release(r->arguments[i]);
        if (r->names) free((char *)r->names[i]);
    }
    free(r->names);
    free(r->arguments);
    grammar_release(r->answer);
    for (int i = 0; i < 2; i++) grammar_release(r->roles[i]);
    for (int i = 0; i < CONSTRAINT_STAGES; i++) grammar_release(r->channels[i]);
    grammar_release(r->called);
    grammar_release(r->json);
    *r = (constraint_rules){0};
}

/* ---- places ----------------------------------------------------------------------------------------------------- */

static void lose(constraint_turn *t)
{
    grammar_matcher_close(t->matcher);
    t->matcher = NULL;
    t->place = CONSTRAINT_LOST;
}

/* Goes on at `place`, with the text that `g` describes; NULL: free, or none. */
static void enter(constraint_turn *t, constraint_place place, grammar *g)
{
    grammar_matcher_close(t->matcher);
    t->matcher = NULL;
    t->place = place;
    t->size = 0;
    t->text[0] = '\0';
    if (g && grammar_matcher_open(g, &t->matcher, NULL) != STATUS_OK) lose(t);
}

static void begin_message(constraint_turn *t)
{
    t->function = -1;
    enter(t, CONSTRAINT_ROLE, t->rules->roles[t->first ? 0 : 1]);
}

void constraint_turn_begin(constraint_turn *t, const constraint_rules *rules, const tokenizer *tokens)
{
    *t = (constraint_turn){.rules = rules, .tokens = tokens, .first = true};
    begin_message(t);
}

void constraint_turn_end(constraint_turn *t)
{
    grammar_matcher_close(t->matcher);
    t->matcher = NULL;
}

/* ---- what may come ---------------------------------------------------------------------------------------------- */

static void allow(const constraint_turn *t, uint32_t *bits, int32_t id)
{
    if (id >= 0 && (size_t)id / 32 < t->rules->words) bits[id / 32] |= 1u << id % 32;
}

/* Whether the text of this place may end here. */
static bool complete(const constraint_turn *t)
{
    if (t->place == CONSTRAINT_ROLE && t->first && t->size == 0) return true;
    return !t->matcher || grammar_matcher_is_done(t->matcher);
}

/* The special token that ends this place. */
static int32_t next_marker(const constraint_turn *t)
{
    const constraint_ids *ids = &t->rules->ids;
    switch (t->place) {
    case CONSTRAINT_ROLE: return ids->channel;
    case CONSTRAINT_CHANNEL: return t->text[t->size - 1] == ' ' ? ids->constrain : ids->message;
    case CONSTRAINT_TYPE: return ids->message;
    case CONSTRAINT_CONTENT: return t->end;
    case CONSTRAINT_BETWEEN: return ids->start;
    case CONSTRAINT_OVER:
    case CONSTRAINT_LOST: break;
    }
    return ids->final_return;
}

bool constraint_turn_mask(constraint_turn *t, uint32_t *bits)
{
    if (t->place == CONSTRAINT_OVER) return false;
    if (t->matcher && grammar_matcher_mask(t->matcher, bits, NULL) != STATUS_OK) {
        memset(bits, 0, t->rules->words * sizeof *bits);
        lose(t);
    }
    if (t->place == CONSTRAINT_CONTENT && !t->matcher) memcpy(bits, t->rules->ordinary, t->rules->words * sizeof *bits);
    if (complete(t)) allow(t, bits, next_marker(t));
    return true;
}

/* ---- what came -------------------------------------------------------------------------------------------------- */

static bool has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

/* The function that the text so far names behind "to=functions."; -1: none. */
static int find_function(const constraint_turn *t)
{
    static const char mark[] = "to=functions.";
    const char *name = strstr(t->text, mark);
    if (!name) return -1;
    name += sizeof mark - 1;
    size_t size = strcspn(name, " ");
    for (size_t i = 0; i < t->rules->n_functions; i++)
        if (strlen(t->rules->names[i]) == size && memcmp(t->rules->names[i], name, size) == 0) return (int)i;
    return -1;
}

static void leave_role(constraint_turn *t)
{
    t->function = find_function(t);
    enter(t, CONSTRAINT_CHANNEL, t->function >= 0 ? t->rules->called : t->rules->channels[t->stage]);
}

/* What the channel's text announces. The text is then gone. */
static void leave_channel(constraint_turn *t, bool typed)
{
    const constraint_rules *r = t->rules;
    bool final = has_prefix(t->text, "final"), analysis = has_prefix(t->text, "analysis");
    if (t->function < 0) t->function = find_function(t);
    t->end = t->function >= 0 ? r->ids.call : final ? r->ids.final_return : r->ids.end;
    if (t->function < 0 && !final) t->stage = analysis ? CONSTRAINT_REASONED : CONSTRAINT_ANNOUNCED;
    if (typed) enter(t, CONSTRAINT_TYPE, r->json);
}

static void begin_content(constraint_turn *t)
{
    const constraint_rules *r = t->rules;
    enter(t, CONSTRAINT_CONTENT, t->function >= 0 ? r->arguments[t->function] : t->end == r->ids.final_return ? r->answer : NULL);
}

static void take_marker(constraint_turn *t)
{
    switch (t->place) {
    case CONSTRAINT_ROLE: leave_role(t); break;
    case CONSTRAINT_CHANNEL: {
        bool typed = t->text[t->size - 1] == ' ';
        leave_channel(t, typed);
        if (!typed) begin_content(t);
        break;
    }
    case CONSTRAINT_TYPE: begin_content(t); break;
    case CONSTRAINT_CONTENT:
        t->first = false;
        enter(t, t->end == t->rules->ids.end ? CONSTRAINT_BETWEEN : CONSTRAINT_OVER, NULL);
        break;
    case CONSTRAINT_BETWEEN: begin_message(t); break;
    case CONSTRAINT_LOST: t->place = CONSTRAINT_OVER; break;
    case CONSTRAINT_OVER: break;
    }
}

/* Header texts are kept, to know in the end what they said. */
static void take_text(constraint_turn *t, int32_t id)
{
    size_t size;
    const char *bytes = tokenizer_bytes(t->tokens, id, &size);
    if (t->matcher && !grammar_matcher_accept(t->matcher, id)) {
        lose(t);
        return;
    }
    if (t->place == CONSTRAINT_CONTENT) return;
    if (!t->matcher || size >= sizeof t->text - t->size) {
        lose(t);
        return;
    }
    memcpy(t->text + t->size, bytes, size);
    t->size += size;
    t->text[t->size] = '\0';
}

static bool is_ordinary(const constraint_turn *t, int32_t id)
{
    return (size_t)id / 32 < t->rules->words && t->rules->ordinary[id / 32] >> id % 32 & 1;
}

void constraint_turn_accept(constraint_turn *t, int32_t id)
{
    if (t->place == CONSTRAINT_OVER) return;
    if (is_ordinary(t, id) && t->place != CONSTRAINT_LOST && t->place != CONSTRAINT_BETWEEN) take_text(t, id);
    else if (complete(t) && id == next_marker(t)) take_marker(t);
    else lose(t);
}
