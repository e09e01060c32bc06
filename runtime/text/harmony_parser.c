/* Generated tokens to messages, whatever the model says. States and transitions: openai/harmony `src/encoding.rs`,
 * StreamableParser, with every error replaced by a recovery; the policy is the table in README.md.
 *
 * Nothing is allocated while tokens arrive: a header is bounded, and content leaves in pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/text/harmony_header.h"
#include "runtime/text/harmony_internal.h"
#include "runtime/text/utf8.h"

enum {
    PIECE = 256,      /* bytes of a token that are decoded at once */
    PROSE_LIMIT = 64, /* bytes after which text without a header is taken for an answer */
};

typedef enum parser_state {
    EXPECT_START, /* between messages */
    HEADER,
    CONTENT,
    DONE, /* nothing more counts */
} parser_state;

struct harmony_parser {
    const harmony *h;
    harmony_parser_options options;
    harmony_sink sink;
    parser_state state;
    bool assistant_known; /* HEADER: the role is not part of the header's text */
    bool skip_text;       /* EXPECT_START: generation ended here, only <|start|> goes on */
    bool answered;        /* an answer or a call has begun */
    bool in_reasoning;
    utf8_stream utf8;
    buffer text; /* characters of the current piece */
    char header[HARMONY_HEADER_LIMIT];
    size_t header_size;
    harmony_header_record record; /* of the current message */
};

status harmony_parser_open(const harmony *h, const harmony_parser_options *options, harmony_sink sink,
                           harmony_parser **out, status_detail *detail)
{
    harmony_parser *p = calloc(1, sizeof *p);
    /* A byte becomes at most one U+FFFD (3 bytes); 4 bytes may wait from the piece before. */
    if (!p || !buffer_reserve(&p->text, 3 * (PIECE + 4))) {
        free(p);
        return status_fail(detail, STATUS_INTERNAL, "out of memory for the parser of a model's output");
    }
    p->h = h;
    p->options = *options;
    p->sink = sink;
    p->state = options->after_assistant ? HEADER : EXPECT_START;
    p->assistant_known = options->after_assistant;
    *out = p;
    return STATUS_OK;
}

void harmony_parser_close(harmony_parser *p)
{
    if (!p) return;
    buffer_free(&p->text);
    free(p);
}

static void begin_content(harmony_parser *p)
{
    p->state = CONTENT;
    p->answered = p->answered || p->record.header.kind != HARMONY_ANALYSIS;
    p->sink.begin(p->sink.user, &p->record.header);
}

static void content(harmony_parser *p, const char *text, size_t size)
{
    if (size) p->sink.delta(p->sink.user, text, size);
}

static void begin_header(harmony_parser *p, bool assistant_known)
{
    p->state = HEADER;
    p->assistant_known = assistant_known;
    p->header_size = 0;
}

/* Whether a header without <|message|> may be the assistant's: in a generation all is, but for what names somebody else. */
static bool is_ours(const harmony_parser *p)
{
    return p->assistant_known || (p->options.after_assistant && !harmony_header_is_others(p->header, p->header_size));
}

/* Turns a header that lacks its <|message|> into the beginning of a message's content. false: there was nothing worth
 * it, and the header stays. `keep_empty`: a message of a known channel without text counts, as in the library. */
static bool salvage(harmony_parser *p, bool more_follows, bool keep_empty)
{
    bool found;
    size_t size =
        harmony_header_salvage(p->header, p->header_size, is_ours(p), more_follows, &p->record, &found);
    if (!found || (size == 0 && !keep_empty)) return false;
    begin_content(p);
    content(p, p->header, size);
    return true;
}

static void header_text(harmony_parser *p, const char *text, size_t size)
{
    if (p->header_size + size > sizeof p->header) {
        /* No header is this long. What was said is an answer, even where the role was nonsense. */
        p->assistant_known = true;
        if (salvage(p, true, true)) {
            content(p, text, size);
            return;
        }
        begin_header(p, true);
    }
    for (size_t i = 0; i < size; i++) p->header[p->header_size++] = text[i] ? text[i] : ' ';
    if (p->header_size >= PROSE_LIMIT && is_ours(p) && harmony_header_is_prose(p->header, p->header_size))
        salvage(p, true, false);
}

/* Whole characters, for whatever is open. */
static void take_text(harmony_parser *p)
{
    if (p->text.size) {
        if (p->state == HEADER)
            header_text(p, p->text.data, p->text.size);
        else
            content(p, p->text.data, p->text.size);
    }
    buffer_clear(&p->text);
}

/* The results of the UTF-8 stream need no check: the buffer has room for all that a piece can become. */
static void take_bytes(harmony_parser *p, const char *bytes, size_t size)
{
    while (size) {
        size_t piece = size < PIECE ? size : PIECE;
        (void)utf8_stream_push(&p->utf8, bytes, piece, &p->text);
        take_text(p);
        bytes += piece;
        size -= piece;
    }
}

static void flush_bytes(harmony_parser *p)
{
    (void)utf8_stream_finish(&p->utf8, &p->text);
    take_text(p);
}

static void end_content(harmony_parser *p)
{
    flush_bytes(p);
    p->sink.end(p->sink.user);
    p->state = EXPECT_START;
}

/* <|end|>, <|return|>, <|call|> or <|endoftext|>. */
static void take_stop(harmony_parser *p, int32_t id)
{
    bool between = p->state == EXPECT_START;
    if (p->state == HEADER) {
        flush_bytes(p);
        if (p->state == HEADER) salvage(p, false, true);
    }
    if (p->state == CONTENT) end_content(p);
    p->state = EXPECT_START;
    if (id == p->h->end) {
        p->skip_text = p->skip_text && between;
        return;
    }
    p->skip_text = true;
    if (p->options.after_assistant && (p->answered || id == p->h->end_of_text)) p->state = DONE;
}

/* <|start|> outside content: a message without an end may stand before it. */
static void take_start(harmony_parser *p)
{
    if (p->state == HEADER) {
        flush_bytes(p);
        if (p->state == HEADER) salvage(p, false, false);
        if (p->state == CONTENT) end_content(p);
    }
    begin_header(p, false);
}

static void take_message(harmony_parser *p)
{
    flush_bytes(p);
    if (p->state == CONTENT) return; /* the flush made the header too long to be one */
    harmony_header_parse(p->header, p->header_size, p->assistant_known, &p->options, &p->record);
    begin_content(p);
}

/* A token that is neither a stop nor <|start|>, outside content. */
static void take_header_token(harmony_parser *p, int32_t id)
{
    if (p->state == EXPECT_START) {
        if (p->skip_text) return;
        begin_header(p, true); /* the model forgot <|start|>assistant */
    }
    if (id == p->h->message) {
        take_message(p);
        return;
    }
    bool marker = id == p->h->channel || id == p->h->constrain;
    if (tokenizer_is_special(p->h->tokens, id) && !marker) return;
    size_t size;
    const char *bytes = tokenizer_bytes(p->h->tokens, id, &size);
    take_bytes(p, bytes, size);
}

static bool is_stop(const harmony *h, int32_t id)
{
    return id == h->end || id == h->final_return || id == h->call || (h->end_of_text >= 0 && id == h->end_of_text);
}

void harmony_parser_push(harmony_parser *p, int32_t id)
{
    bool content_before = p->state == CONTENT;
    size_t size;
    if (p->state == DONE) {
        p->in_reasoning = false;
        return;
    }
    if (is_stop(p->h, id)) {
        take_stop(p, id);
    } else if (content_before) {
        const char *bytes = tokenizer_bytes(p->h->tokens, id, &size);
        take_bytes(p, bytes, size);
    } else if (id == p->h->start) {
        take_start(p);
    } else {
        take_header_token(p, id);
    }

    if (p->state == HEADER)
        p->in_reasoning = harmony_header_announces_reasoning(p->header, p->header_size);
    else
        p->in_reasoning = (content_before || p->state == CONTENT) && p->record.header.kind == HARMONY_ANALYSIS;
}

void harmony_parser_finish(harmony_parser *p)
{
    if (p->state == HEADER) {
        flush_bytes(p);
        if (p->state == HEADER && is_ours(p) && harmony_header_is_prose(p->header, p->header_size))
            salvage(p, false, false);
    }
    if (p->state == CONTENT) end_content(p);
    p->state = DONE;
    p->in_reasoning = false;
}

bool harmony_parser_in_reasoning(const harmony_parser *p) { return p->in_reasoning; }
