#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/pretokenize.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>

/* The pattern, with the white space of its last four alternatives left open: S inside brackets, NOT_S for the
 * look-ahead. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define WORDS LEAD UPPER "*" LOWER "+" CONTRACTION "|" LEAD UPPER "+" LOWER "*" CONTRACTION "|\\p{N}{1,3}|"
#define PATTERN(INSIDE, S, NOT_S)                                                                                      \
    WORDS " ?[^" INSIDE "\\p{L}\\p{N}]+[\\r\\n/]*|" S "*[\\r\\n]+|" S "+(?!" NOT_S ")|" S "+"

/* Unicode's White_Space. PCRE2's own \s is not: it lacks most of it without PCRE2_UCP, and has U+180E with it. */
#define WHITE                                                                                                          \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

const char pretokenize_published_pattern[] = PATTERN("\\s", "\\s", "\\S");
static const char exact_pattern[] = PATTERN(WHITE, "[" WHITE "]", "[^" WHITE "]");

struct pretokenize {
    pcre2_code *code;
    pcre2_match_context *limits;
    bool jit;
};

status pretokenize_open(pretokenize **out, status_detail *detail)
{
    int error = 0;
    PCRE2_SIZE where = 0;
    pretokenize *p = calloc(1, sizeof *p);
    if (!p) return status_fail(detail, STATUS_INTERNAL, "out of memory while compiling the tokenizer's pattern");
    /* Every character begins a piece, so an anchored match never fails and nothing is searched for. */
    p->code = pcre2_compile((PCRE2_SPTR)exact_pattern, sizeof exact_pattern - 1, PCRE2_UTF | PCRE2_ANCHORED, &error,
                            &where, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->code || !p->limits) {
        pretokenize_close(p);
        return status_fail(detail, STATUS_INTERNAL,
                           "PCRE2 does not take the tokenizer's pattern (error %d at %zu); is it built with Unicode?",
                           error, (size_t)where);
    }
    /* Backtracking is linear in the piece, but a piece may be the whole text. */
    pcre2_set_match_limit(p->limits, UINT32_MAX);
    /* Where executable memory is forbidden PCRE2 interprets: slower, the same pieces. */
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    *out = p;
    return STATUS_OK;
}

void pretokenize_close(pretokenize *p)
{
    if (!p) return;
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    free(p);
}

pretokenize_scan pretokenize_scan_begin(const pretokenize *p, const char *text, size_t size)
{
    return (pretokenize_scan){.pattern = p, .text = text, .size = size};
}

void pretokenize_scan_end(pretokenize_scan *s)
{
    pcre2_match_data_free(s->match);
    s->match = NULL;
}

static status match_pattern(pretokenize_scan *s, size_t *end, status_detail *detail)
{
    const pretokenize *p = s->pattern;
    if (!s->match) s->match = pcre2_match_data_create(1, NULL);
    if (!s->match) return status_fail(detail, STATUS_INTERNAL, "out of memory while tokenizing");
    PCRE2_SPTR text = (PCRE2_SPTR)s->text;
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (p->jit) rc = pcre2_jit_match(p->code, text, s->size, s->position, 0, s->match, p->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(p->code, text, s->size, s->position, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, p->limits);
    if (rc < 0)
        return status_fail(detail, STATUS_INTERNAL,
                           "the tokenizer's pattern failed at byte %zu of %zu (PCRE2 error %d)", s->position, s->size,
                           rc);
    *end = pcre2_get_ovector_pointer(s->match)[1];
    return STATUS_OK;
}

status pretokenize_scan_next(pretokenize_scan *s, size_t *start, status_detail *detail)
{
    size_t end = s->pattern_only ? 0 : pretokenize_ascii(s->text, s->size, s->position);
    if (end == 0) STATUS_TRY(match_pattern(s, &end, detail));
    *start = s->position;
    s->position = end;
    return STATUS_OK;
}
