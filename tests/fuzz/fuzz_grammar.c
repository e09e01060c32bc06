/* Any schema, regular expression or EBNF: it is refused with a line, or compiles to a grammar whose matcher never gets
 * stuck, whose masks are what it accepts, and that stays within its bounds. The first byte chooses the front end; the
 * walk is drawn from the input too. */
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/grammar.h"
#include "runtime/text/pretokenize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {"{\"", "\":", "\",\"", "\"}", "null", "abc", "the", "00", "]}", "\\u", "  "};
enum { N_WORDS = sizeof words / sizeof *words, STEPS = 24 };

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
    out[0] = (char)(c < 128 ? c : 0xC0 | c >> 6);
    out[1] = (char)(c < 128 ? 0 : 0x80 | (c & 0x3F));
    out[2] = '\0';
}

static const grammar_vocab *open_vocabulary(void)
{
    json_t *vocab = json_object();
    char hidden_space[3] = "";
    for (int byte = 0; byte < 256; byte++) {
        char spelled[3];
        spell_byte(byte, spelled);
        if (byte == ' ') memcpy(hidden_space, spelled, 3);
        json_object_set_new(vocab, spelled, json_integer(byte));
    }
    for (int i = 0; i < N_WORDS; i++) {
        char two[8] = "";
        if (words[i][0] == ' ') strcat(strcat(two, hidden_space), hidden_space);
        json_object_set_new(vocab, two[0] ? two : words[i], json_integer(256 + i));
    }
    json_t *root =
        json_pack("{s:[{s:s, s:i}], s:{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b}]}, s:{s:s, s:b, s:o, s:[]}}",
                  "added_tokens", "content", "<|end|>", "id", 256 + N_WORDS, "pre_tokenizer", "type", "Sequence",
                  "pretokenizers", "type", "Split", "pattern", "Regex", pretokenize_published_pattern, "behavior",
                  "Isolated", "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0, "model", "type",
                  "BPE", "ignore_merges", 1, "vocab", vocab, "merges");
    check(root != NULL);
    char *text = json_dumps(root, JSON_COMPACT);
    tokenizer *t = NULL;
    grammar_vocab *v = NULL;
    check(text && tokenizer_parse_json(text, strlen(text), &t, NULL) == STATUS_OK);
    check(grammar_vocab_open(t, &v, NULL) == STATUS_OK);
    free(text);
    json_decref(root);
    tokenizer_close(t);
    return v; /* lives as long as the process */
}

static bool allowed(const uint32_t *bits, int32_t id) { return bits[id >> 5] >> (id & 31) & 1; }

static void walk(const grammar_vocab *v, grammar *g, const uint8_t *data, size_t size)
{
    uint32_t bits[16];
    grammar_matcher *m = NULL;
    check(grammar_vocab_words(v) <= 16 && grammar_matcher_open(g, &m, NULL) == STATUS_OK);
    for (size_t step = 0; step < STEPS; step++) {
        check(grammar_matcher_is_done(m) || grammar_matcher_may_continue(m));
        check(grammar_matcher_mask(m, bits, NULL) == STATUS_OK);
        int32_t n = grammar_vocab_size(v), chosen = -1, start = (data[step % size] * 7 + (int)step) % n;
        for (int32_t i = 0; i < n && chosen < 0; i++)
            if (allowed(bits, (start + i) % n)) chosen = (start + i) % n;
        check((chosen >= 0) == grammar_matcher_may_continue(m));
        check(!grammar_matcher_accept(m, 256 + N_WORDS));
        if (chosen < 0) break;
        check(grammar_matcher_accept(m, chosen));
    }
    grammar_matcher_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const grammar_vocab *v;
    if (!v) v = open_vocabulary();
    if (size < 2) return 0;
    const char *text = (const char *)data + 1;
    grammar *g = NULL;
    status_detail detail = {{0}};
    status code = STATUS_INVALID;
    json_t *schema = NULL;
    switch (data[0] % 4) {
    case 0: code = grammar_from_regex(v, text, size - 1, &g, &detail); break;
    case 1: code = grammar_from_ebnf(v, text, size - 1, &g, &detail); break;
    default:
        schema = json_loadb(text, size - 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!schema) return 0;
        code = grammar_from_schema(v, schema, &(grammar_options){.compact = data[0] & 1}, &g, &detail);
        json_decref(schema);
    }
    check(code == STATUS_OK || (code == STATUS_INVALID && detail.text[0] && !g));
    if (code == STATUS_OK) walk(v, g, data, size);
    grammar_release(g);
    return 0;
}
