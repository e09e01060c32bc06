#include "runtime/grammar/json_text.h"

#include <string.h>

#include "runtime/text/harmony_json.h"

static expr optional_text(expr_pool *p, const char *text) { return expr_optional(p, expr_text(p, text)); }

static expr digits(expr_pool *p, uint32_t least, uint32_t most)
{
    return expr_repeat(p, expr_class(p, "0-9"), least, most);
}

/* One space, or a new line and its indentation. */
static expr space_of(expr_pool *p)
{
    expr spaces = expr_repeat(p, expr_text(p, " "), 0, JSON_TEXT_INDENT);
    expr tabs = expr_repeat(p, expr_text(p, "\t"), 1, JSON_TEXT_TABS);
    expr line = expr_cat2(p, expr_text(p, "\n"), expr_alt2(p, spaces, tabs));
    return expr_optional(p, expr_alt2(p, expr_text(p, " "), line));
}

static expr integer_of(expr_pool *p)
{
    expr positive = expr_cat2(p, expr_class(p, "1-9"), digits(p, 0, JSON_TEXT_DIGITS - 1));
    return expr_alt2(p, expr_text(p, "0"), expr_cat2(p, optional_text(p, "-"), positive));
}

static expr number_of(expr_pool *p)
{
    expr whole =
        expr_alt2(p, expr_text(p, "0"), expr_cat2(p, expr_class(p, "1-9"), digits(p, 0, JSON_TEXT_DIGITS - 1)));
    expr fraction = expr_optional(p, expr_cat2(p, expr_text(p, "."), digits(p, 1, JSON_TEXT_DIGITS)));
    /* Up to 199, so that with the digits before it a double holds it. */
    expr exponent = expr_cat3(p, expr_class(p, "eE"), expr_optional(p, expr_class(p, "+-")),
                              expr_cat2(p, optional_text(p, "1"), digits(p, 1, 2)));
    return expr_cat(p, (expr[]){optional_text(p, "-"), whole, fraction, expr_optional(p, exponent)}, 4);
}

expr json_text_list(const json_text *t, const char *open, expr first, expr more, uint32_t least, uint32_t most,
                    const char *close)
{
    expr_pool *p = t->p;
    expr next = expr_cat3(p, expr_text(p, ","), t->space, more);
    expr parts[] = {expr_text(p, open), t->space,           first, expr_repeat(p, next, least, most),
                    t->space,           expr_text(p, close)};
    return expr_cat(p, parts, sizeof parts / sizeof *parts);
}

void json_text_init(json_text *t, expr_pool *p, bool compact)
{
    static const charset_range all[] = {{0, CHARSET_LAST}};
    *t = (json_text){.p = p};
    t->space = compact ? EXPR_EMPTY : space_of(p);
    t->any_char = expr_ranges(p, all, 1, EXPR_JSON_ANY);
    expr quote = expr_text(p, "\"");
    t->string = expr_cat3(p, quote, expr_repeat(p, t->any_char, 0, EXPR_NO_LIMIT), quote);
    t->integer = integer_of(p);
    t->number = number_of(p);
    t->value = expr_rule_new(p);
    t->object = expr_rule_new(p);

    expr value = expr_rule_use(p, t->value);
    expr member = expr_as_rule(p, expr_cat(p, (expr[]){t->string, expr_text(p, ":"), t->space, value}, 4));
    expr object = json_text_list(t, "{", member, member, 0, EXPR_NO_LIMIT, "}");
    expr array = json_text_list(t, "[", value, value, 0, EXPR_NO_LIMIT, "]");
    expr_rule_define(p, t->object, expr_alt2(p, expr_text(p, "{}"), object));
    expr ways[] = {expr_rule_use(p, t->object), expr_text(p, "[]"),  array, t->string, t->number, expr_text(p, "true"),
                   expr_text(p, "false"),       expr_text(p, "null")};
    expr_rule_define(p, t->value, expr_alt(p, ways, sizeof ways / sizeof *ways));
}

bool json_text_escape(buffer *out, const char *text, size_t size)
{
    static const char letters[] = "\"\\\b\f\n\r\t", meanings[] = "\"\\bfnrt";
    for (size_t i = 0; i < size; i++) {
        const char *found = text[i] ? strchr(letters, text[i]) : NULL;
        bool added = found                           ? buffer_append(out, (char[]){'\\', meanings[found - letters]}, 2)
                     : (unsigned char)text[i] < 0x20 ? buffer_printf(out, "\\u%04x", (unsigned)text[i])
                                                     : buffer_append(out, &text[i], 1);
        if (!added) return false;
    }
    return true;
}

expr json_text_literal(const json_text *t, const char *text, size_t size)
{
    buffer bytes = {0};
    bool made =
        buffer_append(&bytes, "\"", 1) && json_text_escape(&bytes, text, size) && buffer_append(&bytes, "\"", 1);
    expr literal = made ? expr_bytes(t->p, bytes.data, bytes.size) : expr_pool_no_memory(t->p);
    buffer_free(&bytes);
    return literal;
}

static expr scalar(const json_text *t, const json_t *value)
{
    buffer bytes = {0};
    bool made = harmony_json_write(value, &bytes);
    expr literal = made ? expr_bytes(t->p, bytes.data, bytes.size) : expr_pool_no_memory(t->p);
    buffer_free(&bytes);
    return literal;
}

expr json_text_constant(const json_text *t, const json_t *value)
{
    bool is_object = json_is_object(value);
    if (json_is_string(value)) return json_text_literal(t, json_string_value(value), json_string_length(value));
    if (!is_object && !json_is_array(value)) return scalar(t, value);
    expr_pool *p = t->p;
    if ((is_object ? json_object_size(value) : json_array_size(value)) == 0)
        return expr_text(p, is_object ? "{}" : "[]");
    expr_list parts = {0};
    expr_list_add(p, &parts, expr_text(p, is_object ? "{" : "["));
    const char *key;
    size_t key_size, index;
    json_t *item;
    if (is_object) {
        json_object_keylen_foreach((json_t *)value, key, key_size, item)
        {
            if (parts.n > 1) expr_list_add(p, &parts, expr_text(p, ","));
            expr_list_add(p, &parts, t->space);
            expr_list_add(p, &parts, json_text_literal(t, key, key_size));
            expr_list_add(p, &parts, expr_text(p, ":"));
            expr_list_add(p, &parts, t->space);
            expr_list_add(p, &parts, json_text_constant(t, item));
        }
    } else {
        json_array_foreach(value, index, item)
        {
            if (parts.n > 1) expr_list_add(p, &parts, expr_text(p, ","));
            expr_list_add(p, &parts, t->space);
            expr_list_add(p, &parts, json_text_constant(t, item));
        }
    }
    expr_list_add(p, &parts, t->space);
    expr_list_add(p, &parts, expr_text(p, is_object ? "}" : "]"));
    expr made = expr_cat(p, parts.items, parts.n);
    expr_list_free(&parts);
    return made;
}
