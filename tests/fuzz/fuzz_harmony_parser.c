/* Any stream of tokens: the parser calls begin, delta and end in order, hands out valid UTF-8, names a function for
 * calls only, and ends what it began. */
#include <stdlib.h>
#include <string.h>

#include "runtime/text/harmony.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Tokens above the 256 bytes. Input bytes below 32 stand for these and for ids that no vocabulary has; others for
 * themselves. */
static const char *const specials[] = {"<|start|>",  "<|end|>",  "<|message|>",   "<|channel|>",   "<|constrain|>",
                                       "<|return|>", "<|call|>", "<|endoftext|>", "<|reserved_1|>"};
static const char *const words[] = {"assistant",
                                    "final",
                                    "analysis",
                                    "commentary",
                                    "to=",
                                    "functions.",
                                    "json",
                                    "look_up",
                                    "user",
                                    "<|channel|>x",
                                    "\xC4\xA0to=functions.f" /* byte-level spelling of " to=functions.f" */};
enum { N_SPECIALS = sizeof specials / sizeof *specials, N_WORDS = sizeof words / sizeof *words };

static void check(bool holds)
{
    if (!holds) abort();
}

/* GPT-2's printable stand-in for a byte, in UTF-8. */
static void spell_byte(int byte, char out[3])
{
    static int next_hidden = 256;
    bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    int c = printable ? byte : next_hidden++;
    if (c < 128) {
        out[0] = (char)c;
        out[1] = '\0';
        return;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    out[2] = '\0';
}

static harmony *open_vocabulary(void)
{
    json_t *vocab = json_object(), *added = json_array();
    for (int byte = 0; byte < 256; byte++) {
        char spelled[3];
        spell_byte(byte, spelled);
        json_object_set_new(vocab, spelled, json_integer(byte));
    }
    for (int i = 0; i < N_WORDS; i++) json_object_set_new(vocab, words[i], json_integer(256 + i));
    for (int i = 0; i < N_SPECIALS; i++)
        json_array_append_new(added, json_pack("{s:s, s:i}", "content", specials[i], "id", 256 + N_WORDS + i));
    json_t *root = json_pack("{s:o, s:{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b}]}, s:{s:s, s:b, s:o, s:[]}}",
                             "added_tokens", added, "pre_tokenizer", "type", "Sequence", "pretokenizers", "type",
                             "Split", "pattern", "Regex", pretokenize_published_pattern, "behavior", "Isolated",
                             "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0, "model", "type",
                             "BPE", "ignore_merges", 1, "vocab", vocab, "merges");
    check(root != NULL);
    char *text = json_dumps(root, JSON_COMPACT);
    tokenizer *t = NULL;
    harmony *h = NULL;
    check(text && tokenizer_parse_json(text, strlen(text), &t, NULL) == STATUS_OK);
    check(harmony_open(t, &h, NULL) == STATUS_OK);
    free(text);
    json_decref(root);
    return h; /* both live as long as the process */
}

typedef struct watcher {
    bool open, finished;
} watcher;

static void check_text(const char *text) { check(!text || utf8_valid(text, strlen(text))); }

static void on_begin(void *user, const harmony_header *header)
{
    watcher *w = user;
    check(!w->open && !w->finished);
    check(header->role != NULL);
    check_text(header->role);
    check_text(header->channel);
    check_text(header->recipient);
    check_text(header->content_type);
    check((header->kind == HARMONY_TOOL_CALL) == (header->function != NULL));
    if (header->function)
        check(*header->function && strncmp(header->recipient, "functions.", 10) == 0 &&
              header->function == header->recipient + 10);
    w->open = true;
}

static void on_delta(void *user, const char *text, size_t size)
{
    watcher *w = user;
    check(w->open && !w->finished && size > 0 && utf8_valid(text, size));
}

static void on_end(void *user)
{
    watcher *w = user;
    check(w->open && !w->finished);
    w->open = false;
}

static int32_t token_of(uint8_t byte)
{
    if (byte < N_SPECIALS + N_WORDS) return byte < N_SPECIALS ? 256 + N_WORDS + byte : 256 + byte - N_SPECIALS;
    if (byte >= 32) return byte;
    return byte == 31 ? -1 : byte == 30 ? 1 << 30 : byte - N_SPECIALS - N_WORDS; /* or a control character */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const functions[] = {"look_up", "f"};
    static harmony *h;
    if (!h) h = open_vocabulary();
    if (size == 0) return 0;

    watcher w = {0};
    harmony_parser_options options = {.after_assistant = data[0] & 1, .functions = functions, .n_functions = 2};
    harmony_parser *p;
    check(harmony_parser_open(h, &options, (harmony_sink){&w, on_begin, on_delta, on_end}, &p, NULL) == STATUS_OK);
    for (size_t i = 1; i < size; i++) {
        harmony_parser_push(p, token_of(data[i]));
        (void)harmony_parser_in_reasoning(p);
    }
    harmony_parser_finish(p);
    check(!w.open);
    w.finished = true;
    for (size_t i = 0; i < size && i < 8; i++) harmony_parser_push(p, token_of(data[i]));
    harmony_parser_finish(p);
    harmony_parser_close(p);
    return 0;
}
