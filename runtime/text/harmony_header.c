#define _GNU_SOURCE /* memmem */
#include "runtime/text/harmony_header.h"

#include <string.h>

#include "runtime/text/harmony_internal.h"
#include "runtime/text/harmony_words.h"

#define FUNCTIONS "functions."

/* What a header says once it is cut into words. */
typedef struct header_words {
    harmony_word words[HARMONY_HEADER_LIMIT / 2 + 1]; /* channel markers and their names taken out */
    size_t count;
    harmony_word channel; /* behind the last marker that names one */
} header_words;

/* What the words mean. */
typedef struct header_meaning {
    harmony_word recipient;
    bool addressed;               /* the recipient came with to= */
    bool recipient_open;          /* "to=" stood alone: the next word is the recipient */
    harmony_word type, type_more; /* type_more: what follows a <|constrain|> that stood alone */
    harmony_word function;        /* a word without to= that begins with "functions." */
    harmony_word bare[2];         /* the first and the last of the words that mean nothing by themselves */
    size_t n_bare, n_words;       /* n_words: without names of channels */
    bool ends_bare;
} header_meaning;

static harmony_word whole(const char *text) { return (harmony_word){text, strlen(text)}; }

static void cut(const char *text, size_t size, header_words *out)
{
    harmony_word left = {text, size}, word, channel, rest;
    out->count = 0;
    out->channel = (harmony_word){NULL, 0};
    while (harmony_words_next(&left, &word, &channel)) {
        const char *known = channel.size ? harmony_words_channel(channel, &rest) : NULL;
        if (channel.size) out->channel = known ? whole(known) : channel;
        if (known && harmony_words_after(rest, "to=").text) word = rest;
        if (word.size) out->words[out->count++] = word;
    }
}

/* What is glued to "assistant" when it can go on a header; absent otherwise. */
static harmony_word glued_to_assistant(harmony_word w)
{
    harmony_word rest = harmony_words_after(w, "assistant"), behind;
    bool header = rest.size && (harmony_words_after(rest, "to=").text || harmony_words_channel(rest, &behind));
    return header ? rest : (harmony_word){NULL, 0};
}

/* The role; *next is the first word behind it. A word that is no role names a tool, as in the library, when more words
 * follow (or when it looks like one: "functions.f"); otherwise it means nothing and the author is the assistant. */
static harmony_word take_role(header_words *w, bool assistant_known, size_t *next)
{
    static const harmony_word assistant = {"assistant", 9};
    *next = 0;
    if (w->count == 0) return assistant;
    harmony_word first = w->words[0], behind;
    harmony_word glued = glued_to_assistant(first);
    if (glued.text) {
        w->words[0] = glued;
        return assistant;
    }
    const char *role = harmony_words_role(first);
    if (assistant_known) {
        if (role && strcmp(role, "assistant") == 0) *next = 1;
        return assistant;
    }
    if (role) {
        *next = 1;
        return whole(role);
    }
    if (harmony_words_after(first, "to=").text || harmony_words_after(first, HARMONY_CONSTRAIN_MARKER).text ||
        harmony_words_channel(first, &behind))
        return assistant;
    *next = 1;
    return w->count > 1 || memchr(first.text, '.', first.size) ? first : assistant;
}

static void read_address(harmony_word value, header_meaning *m)
{
    m->recipient_open = value.size == 0;
    m->addressed = true;
    m->ends_bare = false;
    if (value.size) m->recipient = value;
}

static void read_word(harmony_word w, harmony_word *channel, header_meaning *m)
{
    harmony_word behind, address = harmony_words_after(w, "to=");
    const char *named = harmony_words_channel(w, &behind);
    if (named) {
        if (!channel->text) *channel = whole(named);
        address = harmony_words_after(behind, "to=");
        if (!address.text) return;
    }
    m->n_words++;
    if (address.text) {
        read_address(address, m);
    } else if (m->recipient_open) {
        read_address(w, m);
    } else if (m->type.text && harmony_words_equal(m->type, HARMONY_CONSTRAIN_MARKER) && !m->type_more.text) {
        m->type_more = w;
        m->ends_bare = false;
    } else if (harmony_words_is_content_type(w)) {
        m->type = w;
        m->type_more = (harmony_word){NULL, 0};
        m->ends_bare = false;
    } else {
        if (harmony_words_after(w, FUNCTIONS).size && !m->function.text) m->function = w;
        m->bare[m->n_bare == 0 ? 0 : 1] = w;
        m->n_bare++;
        m->ends_bare = true;
    }
}

static bool is_declared(harmony_word w, const harmony_parser_options *options)
{
    for (size_t i = 0; i < options->n_functions; i++)
        if (harmony_words_equal(w, options->functions[i])) return true;
    return false;
}

static bool is_function(harmony_word w, const harmony_parser_options *options)
{
    return harmony_words_after(w, FUNCTIONS).size || (w.size && is_declared(w, options));
}

/* Recipients that are no tools: the message is for people or for the model itself. */
static bool is_nobody(harmony_word recipient)
{
    static const char *const names[] = {"all", "user", "assistant"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (harmony_words_equal(recipient, names[i])) return true;
    return recipient.size == 0;
}

/* Gives the bare words their meaning by position, as the library does: `RECIPIENT`, `RECIPIENT TYPE`, `to=RECIPIENT
 * TYPE`. Where a message is an answer, such a word is a recipient only if it cannot hide the answer. */
static void read_positions(harmony_word channel, const harmony_parser_options *options, header_meaning *m)
{
    harmony_word last = m->bare[m->n_bare > 1 ? 1 : 0];
    if (m->addressed) {
        if (m->ends_bare && !m->type.text) m->type = last;
        return;
    }
    if (m->n_words == 1 && m->n_bare == 1) m->recipient = last;
    if (m->n_words == 2 && m->n_bare == 1 && !m->ends_bare) m->recipient = last;
    if (m->n_words == 2 && m->n_bare == 2) {
        m->recipient = m->bare[0];
        m->type = last;
    }
    if (m->function.text && !is_function(m->recipient, options)) {
        m->recipient = m->function;
        if (m->type.text == m->function.text) m->type = (harmony_word){NULL, 0};
    }
    bool answer = !channel.text || harmony_words_equal(channel, "final");
    if (answer && !is_function(m->recipient, options) && !is_nobody(m->recipient))
        m->recipient = (harmony_word){NULL, 0};
}

/* The text `a` followed by `b`, NUL-terminated, in the record; NULL when both are absent. Every part of a header is put
 * once. */
static const char *put(harmony_header_record *out, harmony_word a, harmony_word b)
{
    if (!a.text) return NULL;
    char *text = out->strings + out->used;
    memcpy(text, a.text, a.size);
    if (b.size) memcpy(text + a.size, b.text, b.size);
    text[a.size + b.size] = '\0';
    out->used += a.size + b.size + 1;
    return text;
}

static harmony_kind kind_of(harmony_word role, harmony_word channel, harmony_word recipient,
                            const harmony_parser_options *options)
{
    bool assistant = harmony_words_equal(role, "assistant");
    bool caller = !harmony_words_equal(role, "user") && !harmony_words_equal(role, "developer") &&
                  !harmony_words_equal(role, "system");
    if (caller && is_function(recipient, options)) return HARMONY_TOOL_CALL;
    if (!assistant || !is_nobody(recipient)) return HARMONY_ANALYSIS;
    bool answer = !channel.text || harmony_words_equal(channel, "final") || harmony_words_equal(channel, "commentary");
    return answer ? HARMONY_FINAL : HARMONY_ANALYSIS;
}

void harmony_header_parse(const char *text, size_t size, bool assistant_known, const harmony_parser_options *options,
                          harmony_header_record *out)
{
    static const harmony_word nothing = {NULL, 0};
    header_words words;
    header_meaning m = {0};
    size_t next;
    cut(text, size, &words);
    harmony_word role = take_role(&words, assistant_known, &next);
    for (size_t i = next; i < words.count; i++) read_word(words.words[i], &words.channel, &m);
    read_positions(words.channel, options, &m);

    out->used = 0;
    harmony_kind kind = kind_of(role, words.channel, m.recipient, options);
    bool complete = kind == HARMONY_TOOL_CALL && !harmony_words_after(m.recipient, FUNCTIONS).size;
    const char *recipient = put(out, complete ? whole(FUNCTIONS) : m.recipient, complete ? m.recipient : nothing);
    out->header = (harmony_header){
        .kind = kind,
        .role = put(out, role, nothing),
        .channel = put(out, words.channel, nothing),
        .recipient = recipient,
        .function = kind == HARMONY_TOOL_CALL ? recipient + strlen(FUNCTIONS) : NULL,
        .content_type = put(out, m.type, m.type_more),
    };
}

/* Removes the channel markers and their names; keeps every other byte. Returns the new size. */
static size_t remove_channels(char *text, size_t size)
{
    const size_t marker = strlen(HARMONY_CHANNEL_MARKER);
    char *at;
    while ((at = memmem(text, size, HARMONY_CHANNEL_MARKER, marker))) {
        size_t end = (size_t)(at - text) + marker;
        while (end < size && !harmony_words_is_space(text[end]) && text[end] != '<') end++;
        memmove(at, text + end, size - end);
        size -= end - (size_t)(at - text);
    }
    return size;
}

size_t harmony_header_salvage(char *text, size_t size, bool assistant_known, bool more_follows,
                              harmony_header_record *out, bool *found)
{
    static const harmony_word nothing = {NULL, 0}, assistant = {"assistant", 9};
    static const harmony_parser_options no_functions = {0};
    header_words words;
    harmony_word behind = {NULL, 0};
    cut(text, size, &words);
    bool begins_with_channel = harmony_words_after((harmony_word){text, size}, HARMONY_CHANNEL_MARKER).text != NULL;
    bool named = words.count && harmony_words_equal(words.words[0], "assistant");
    bool lone_channel = words.count == 1 && harmony_words_channel(words.words[0], &behind) && behind.size == 0;
    *found = (assistant_known || named || begins_with_channel) && !(lone_channel && !words.channel.text);

    out->used = 0; /* before the text that the words point to is changed */
    out->header = (harmony_header){
        .kind = kind_of(assistant, words.channel, nothing, &no_functions),
        .role = "assistant",
        .channel = put(out, words.channel, nothing),
    };
    bool has_channel = words.channel.text != NULL;

    size = remove_channels(text, size);
    size_t from = 0;
    while (from < size && harmony_words_is_space(text[from])) from++;
    if (named) from += assistant.size;
    while (from < size && harmony_words_is_space(text[from])) from++;
    while (!more_follows && size > from && harmony_words_is_space(text[size - 1])) size--;
    memmove(text, text + from, size - from);
    *found = *found && (size > from || (has_channel && assistant_known));
    return size - from;
}

bool harmony_header_is_others(const char *text, size_t size)
{
    harmony_word left = {text, size}, word, channel;
    if (!harmony_words_next(&left, &word, &channel)) return false;
    const char *role = harmony_words_role(word);
    return (role && strcmp(role, "assistant") != 0) || harmony_words_after(word, FUNCTIONS).text;
}

bool harmony_header_is_prose(const char *text, size_t size)
{
    if (memmem(text, size, HARMONY_CHANNEL_MARKER, strlen(HARMONY_CHANNEL_MARKER)) ||
        memmem(text, size, HARMONY_CONSTRAIN_MARKER, strlen(HARMONY_CONSTRAIN_MARKER)) || memmem(text, size, "to=", 3))
        return false;
    harmony_word left = {text, size}, word, channel;
    if (!harmony_words_next(&left, &word, &channel) || harmony_words_may_be_header(word, left.size > 0)) return false;
    if (left.size) return true;
    /* One word: a name may still become a recipient, anything with other punctuation may not. */
    for (size_t i = 0; i < word.size; i++)
        if (memchr("!?,;()*#\"'`", word.text[i], 11)) return true;
    return false;
}

bool harmony_header_announces_reasoning(const char *text, size_t size)
{
    harmony_word left = {text, size}, word, channel, last = {NULL, 0}, rest;
    while (harmony_words_next(&left, &word, &channel)) {
        if (channel.size) last = channel;
        harmony_word address = harmony_words_after(word, "to=");
        if (harmony_words_after(address, FUNCTIONS).text) return false;
    }
    const char *known = last.size ? harmony_words_channel(last, &rest) : NULL;
    return known && strcmp(known, "analysis") == 0;
}
