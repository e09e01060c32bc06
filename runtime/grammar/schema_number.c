#include <string.h>

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/regex.h"
#include "runtime/grammar/schema.h"

enum {
    MAX_MULTIPLE = 1000,
    MAX_PLACES = 9,       /* of multipleOf 0.1, 0.01, ... */
    FRACTION_DIGITS = 17, /* of bounded numbers: more digits do not change a double */
    EXACT_DIGITS = 15,    /* two decimals of up to 15 digits that differ are different doubles */
};

/* ---- keywords ---------------------------------------------------------------------------------------------------- */

static bool read_bound(schema *s, const json_t *flat, const char *name, decimal *out)
{
    const json_t *value = json_object_get(flat, name);
    if (!value) return false;
    if (json_is_number(value) && decimal_read(value, out)) return true;
    schema_path_fail(s, STATUS_INVALID, "'%s' is not a number", name);
    return false;
}

bool schema_number_bound(schema *s, const json_t *flat, bool lower, decimal *out, bool *strict)
{
    decimal loose, tight;
    bool has_loose = read_bound(s, flat, lower ? "minimum" : "maximum", &loose);
    bool has_tight = read_bound(s, flat, lower ? "exclusiveMinimum" : "exclusiveMaximum", &tight);
    if (!has_loose && !has_tight) return false;
    int order = has_loose && has_tight ? decimal_compare(&tight, &loose) : 0;
    *strict = has_tight && (!has_loose || (lower ? order >= 0 : order <= 0));
    *out = *strict ? tight : loose;
    return true;
}

/* What numbers of this schema look like. */
typedef struct shape {
    bool integer;
    bool has[2]; /* lower, upper */
    decimal bound[2];
    bool strict[2];
    uint32_t multiple; /* of integers; 0: none */
    int places;        /* most digits behind the point */
} shape;

static void read_multiple(schema *s, const json_t *flat, shape *out)
{
    const json_t *value = json_object_get(flat, "multipleOf");
    decimal m;
    if (!value) return;
    if (!json_is_number(value) || json_number_value(value) <= 0 || !decimal_read(value, &m)) {
        schema_path_fail(s, STATUS_INVALID, "'multipleOf' is not a number above 0");
        return;
    }
    size_t places = strlen(m.fraction);
    bool power = strcmp(m.whole, "0") == 0 && places <= MAX_PLACES && strspn(m.fraction, "0") == places - 1 &&
                 m.fraction[places - 1] == '1';
    if (power) {
        if ((int)places < out->places) out->places = (int)places; /* every integer is a multiple */
    } else if (decimal_is_integer(&m) && json_number_value(value) <= MAX_MULTIPLE) {
        out->integer = true;
        out->multiple = (uint32_t)json_number_value(value);
    } else {
        schema_path_fail(s, STATUS_INVALID,
                         "'multipleOf' is supported for integers up to %d and for 0.1, 0.01, ... only", MAX_MULTIPLE);
    }
}

/* OpenAPI's formats of numbers; those of strings do not speak of numbers. */
static void read_formats(schema *s, const json_t *flat, shape *out)
{
    static const struct {
        const char *name;
        json_int_t least, most;
    } formats[] = {{"int32", INT32_MIN, INT32_MAX},
                   {"int64", INT64_MIN, INT64_MAX},
                   {"uint32", 0, UINT32_MAX},
                   {"float", 0, 0},
                   {"double", 0, 0}};
    size_t index;
    json_t *format;
    json_array_foreach(json_object_get(flat, "format"), index, format)
    {
        size_t i = 0;
        while (i < 5 && strcmp(formats[i].name, json_string_value(format)) != 0) i++;
        if (i == 5) {
            unsigned types = (unsigned)json_integer_value(json_object_get(flat, "type"));
            if (!(types & SCHEMA_STRING))
                schema_path_fail(s, STATUS_INVALID, "format '%.60s' is not supported for numbers",
                                 json_string_value(format));
            continue;
        }
        for (int side = 0; side < 2 && formats[i].least < formats[i].most; side++) {
            json_t *value = json_integer(side ? formats[i].most : formats[i].least);
            decimal d;
            if (value && decimal_read(value, &d) &&
                (!out->has[side] || (decimal_compare(&d, &out->bound[side]) < 0) == (side == 1))) {
                out->bound[side] = d;
                out->strict[side] = false;
                out->has[side] = true;
            }
            json_decref(value);
        }
    }
}

static shape read_shape(schema *s, const json_t *flat, bool integer)
{
    shape out = {.integer = integer, .places = FRACTION_DIGITS};
    for (int side = 0; side < 2; side++)
        out.has[side] = schema_number_bound(s, flat, side == 0, &out.bound[side], &out.strict[side]);
    read_multiple(s, flat, &out);
    read_formats(s, flat, &out);
    for (int side = 0; side < 2; side++) {
        if (!out.has[side]) continue;
        if (out.integer) {
            decimal_round(&out.bound[side], side == 0, out.strict[side], &out.bound[side]);
            out.strict[side] = false;
        } else if (out.strict[side]) {
            /* So that no allowed number rounds to the bound itself. */
            int whole = (int)strlen(out.bound[side].whole), fraction = (int)strlen(out.bound[side].fraction);
            if (whole + fraction > EXACT_DIGITS)
                schema_path_fail(s, STATUS_INVALID, "exclusive bounds of more than %d digits are not supported",
                                 EXACT_DIGITS);
            if (EXACT_DIGITS - whole < out.places) out.places = EXACT_DIGITS - whole;
        }
    }
    return out;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static bool write_syntax(const shape *of, buffer *out)
{
    size_t digits = JSON_TEXT_DIGITS, longest = 0;
    for (int side = 0; side < 2; side++)
        if (of->has[side] && strlen(of->bound[side].whole) > longest) longest = strlen(of->bound[side].whole);
    if (of->has[0] && of->has[1]) digits = longest; /* no number between them has more */
    if (longest >= digits) digits = longest + !(of->has[0] && of->has[1]);
    if (of->multiple > 1) digits = EXACT_DIGITS; /* each digit is as many states as the multiple */
    if (of->integer) return buffer_printf(out, "0|-?[1-9][0-9]{0,%zu}", digits - 1);
    if (!buffer_printf(out, "-?(?:0|[1-9][0-9]{0,%zu})", digits - 1)) return false;
    return of->places == 0 || buffer_printf(out, "(?:\\.[0-9]{1,%d})?", of->places);
}

/* Integers that a number divides. */
static dfa *multiples(expr_pool *p, const dfa_alphabet *a, uint32_t m)
{
    dfa *d = dfa_new(p, a->classes, a->n_classes, (size_t)m + 1);
    if (!d) return NULL;
    for (uint32_t state = 0; state <= m; state++) /* 0: no digit yet; 1 + r: what was read is r modulo m */
        for (uint32_t c = 0; c < d->n_classes; c++) {
            uint32_t low = d->classes[c].low, before = state ? state - 1 : 0;
            if (low >= '0' && low <= '9') d->next[(size_t)state * d->n_classes + c] = 1 + (before * 10 + low - '0') % m;
            if (low == '-' && state == 0) d->next[c] = 0;
        }
    d->accepts[1] = true;
    return dfa_trim(p, d);
}

static expr bounded(schema *s, const shape *of, buffer texts[3], int n)
{
    regex parts[3];
    dfa_alphabet a = {0};
    dfa *all = NULL;
    dfa_alphabet_add_text(s->p, &a, "-.0123456789", 12);
    for (int i = 0; i < n && !schema_failed(s); i++) {
        s->code = regex_parse(s->p, texts[i].data, texts[i].size, REGEX_WHOLE, EXPR_UTF8, &parts[i], s->detail);
        if (!schema_failed(s)) regex_alphabet(s->p, &a, &parts[i]);
    }
    if (!schema_failed(s)) {
        dfa_alphabet_seal(s->p, &a);
        for (int i = 0; i < n; i++)
            all = i ? dfa_product(s->p, all, regex_dfa(s->p, &a, &parts[i])) : regex_dfa(s->p, &a, &parts[i]);
        if (of->multiple > 1) all = dfa_product(s->p, all, multiples(s->p, &a, of->multiple));
    }
    dfa_alphabet_free(&a);
    expr e = expr_dfa(s->p, all, EXPR_UTF8);
    return e == EXPR_FAIL ? e : expr_as_rule(s->p, e);
}

/* The same bounds often come again: the rule is kept by its text. */
static expr remembered(schema *s, const shape *of, buffer texts[3], int n)
{
    buffer key = {0};
    bool written = buffer_printf(&key, "%u ", (unsigned)of->multiple);
    for (int i = 0; i < n; i++)
        written = written && buffer_append(&key, texts[i].data, texts[i].size) && buffer_append_text(&key, " & ");
    if (!written) {
        buffer_free(&key);
        return schema_path_no_memory(s);
    }
    json_t *known = json_object_get(s->rules, key.data);
    expr e = known ? expr_rule_use(s->p, (uint32_t)json_integer_value(known)) : bounded(s, of, texts, n);
    if (!known && s->p->nodes[e].kind == EXPR_KIND_RULE &&
        json_object_set_new(s->rules, key.data, json_integer(s->p->nodes[e].a)) != 0)
        schema_path_no_memory(s);
    buffer_free(&key);
    return e;
}

expr schema_number(schema *s, const json_t *flat, bool integer)
{
    shape of = read_shape(s, flat, integer);
    if (schema_failed(s)) return EXPR_FAIL;
    bool free_digits = !of.has[0] && !of.has[1] && of.multiple <= 1;
    if (free_digits && of.integer) return s->text.integer;
    if (free_digits && of.places == FRACTION_DIGITS) return s->text.number;
    buffer texts[3] = {{0}};
    int n = 1;
    bool written = write_syntax(&of, &texts[0]);
    if (of.has[0]) written = decimal_write_at_least(&of.bound[0], of.strict[0], &texts[n++]) && written;
    if (of.has[1]) written = decimal_write_at_most(&of.bound[1], of.strict[1], &texts[n++]) && written;
    expr e = written ? remembered(s, &of, texts, n) : schema_path_no_memory(s);
    for (int i = 0; i < n; i++) buffer_free(&texts[i]);
    return e;
}
