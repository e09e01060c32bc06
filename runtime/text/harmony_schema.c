#define _GNU_SOURCE /* memmem */
/* JSON schema to the TypeScript that gpt-oss was trained on. Formula: openai/harmony `src/encoding.rs`,
 * json_schema_to_typescript; its oddities are kept (a schema it does not understand is `any`, arrays of enums have no
 * parentheses, a nested object's description appears twice), because the model has seen exactly these. */
#include <string.h>

#include "runtime/text/harmony.h"
#include "runtime/text/harmony_json.h"

static bool write_type(const json_t *schema, int indent, buffer *out);

static bool write_bytes_of(const json_t *text, buffer *out)
{
    return buffer_append(out, json_string_value(text), json_string_length(text));
}

/* `indent` spaces, then `text`. */
static bool write_indented(int indent, const char *text, buffer *out)
{
    return buffer_printf(out, "%*s%s", indent, "", text);
}

/* "{indent}// {text}{after}" */
static bool write_comment(int indent, const json_t *text, const char *after, buffer *out)
{
    return write_indented(indent, "// ", out) && write_bytes_of(text, out) && buffer_append_text(out, after);
}

static bool is_enum(const json_t *schema) { return json_array_size(json_object_get(schema, "enum")) > 0; }

/* How the default of an enum of strings is printed: without quotes beside a property, as JSON in a free-standing oneOf.
 */
typedef enum enum_style { ENUM_BARE, ENUM_JSON } enum_style;

/* "default: ..." */
static bool write_default(const json_t *schema, enum_style style, buffer *out)
{
    const json_t *value = json_object_get(schema, "default");
    if (!buffer_append_text(out, "default: ")) return false;
    if (!json_is_string(value) || (is_enum(schema) && style == ENUM_JSON)) return harmony_json_write(value, out);
    if (is_enum(schema)) return write_bytes_of(value, out);
    return buffer_append_text(out, "\"") && write_bytes_of(value, out) && buffer_append_text(out, "\"");
}

/* The type, and " | null" for a nullable schema whose rendering does not speak of null already (in a comment counts
 * too). */
static bool write_nullable_type(const json_t *schema, int indent, buffer *out)
{
    size_t begin = out->size;
    if (!write_type(schema, indent, out)) return false;
    if (!json_is_true(json_object_get(schema, "nullable"))) return true;
    if (out->size > begin && memmem(out->data + begin, out->size - begin, "null", 4)) return true;
    return buffer_append_text(out, " | null");
}

/* One line of a oneOf: "{indent} | TYPE // description default: ...". `description` NULL: left out. */
static bool write_variant(const json_t *variant, int indent, const json_t *description, enum_style style, buffer *out)
{
    bool has_default = json_object_get(variant, "default") != NULL;
    if (!write_indented(indent, " | ", out) || !write_nullable_type(variant, indent + 3, out)) return false;
    if ((description || has_default) && !buffer_append_text(out, " // ")) return false;
    if (description && !write_bytes_of(description, out)) return false;
    if (description && has_default && !buffer_append_text(out, " ")) return false;
    return !has_default || write_default(variant, style, out);
}

/* Member `key` when it is a string, else NULL. */
static const json_t *text_member(const json_t *schema, const char *key)
{
    const json_t *value = json_object_get(schema, key);
    return json_is_string(value) ? value : NULL;
}

static bool write_one_of(const json_t *variants, int indent, buffer *out)
{
    size_t index;
    const json_t *variant;
    json_array_foreach(
        variants, index,
        variant) if (!buffer_append_text(out, "\n") ||
                     !write_variant(variant, indent, text_member(variant, "description"), ENUM_JSON, out)) return false;
    return true;
}

/* The strings of `list` joined by " | ", each inside `quote`; `integer` is read as number when it names a type. */
static bool write_alternatives(const json_t *list, const char *quote, bool types, buffer *out, size_t *count)
{
    size_t index;
    const json_t *item;
    *count = 0;
    json_array_foreach(list, index, item)
    {
        if (!json_is_string(item)) continue;
        if (*count && !buffer_append_text(out, " | ")) return false;
        bool integer = types && strcmp(json_string_value(item), "integer") == 0;
        if (!buffer_append_text(out, quote) ||
            !(integer ? buffer_append_text(out, "number") : write_bytes_of(item, out)) ||
            !buffer_append_text(out, quote))
            return false;
        ++*count;
    }
    return true;
}

static bool write_string_type(const json_t *schema, buffer *out)
{
    size_t count;
    if (!write_alternatives(json_object_get(schema, "enum"), "\"", false, out, &count)) return false;
    return count || buffer_append_text(out, "string");
}

/* The names in `required` as the keys of a new object, so that a long list costs no more than its length; NULL when
 * memory ends. */
static json_t *required_names(const json_t *schema)
{
    json_t *names = json_object();
    size_t index;
    const json_t *item;
    json_array_foreach(json_object_get(schema, "required"), index,
                       item) if (names && json_is_string(item) &&
                                 json_object_setn_new_nocheck(names, json_string_value(item), json_string_length(item),
                                                              json_true()) != 0)
    {
        json_decref(names);
        names = NULL;
    }
    return names;
}

/* Title, description and examples above a property. */
static bool write_property_comments(const json_t *property, int indent, buffer *out)
{
    const json_t *title = text_member(property, "title"), *description = text_member(property, "description");
    if (title && !(write_comment(indent, title, "\n", out) && write_indented(indent, "//\n", out))) return false;
    if (description && !json_object_get(property, "oneOf") && !write_comment(indent, description, "\n", out))
        return false;

    const json_t *examples = json_object_get(property, "examples"), *example;
    if (json_array_size(examples) && !write_indented(indent, "// Examples:\n", out)) return false;
    size_t index;
    json_array_foreach(examples, index,
                       example) if (json_is_string(example) &&
                                    !(write_indented(indent, "// - \"", out) && write_bytes_of(example, out) &&
                                      buffer_append_text(out, "\"\n"))) return false;
    return true;
}

/* The variants below a property's name. A description stands once: above the property, or beside its first variant when
 * both agree. */
static bool write_one_of_property(const char *name, const json_t *property, int indent, buffer *out)
{
    const json_t *variants = json_object_get(property, "oneOf"), *variant;
    const json_t *above = text_member(property, "description");
    const json_t *first = text_member(json_array_get(variants, 0), "description");
    bool print_above = above && !(first && json_equal(above, first));
    if (print_above && !write_comment(indent, above, "\n", out)) return false;
    if (json_object_get(property, "default") &&
        !(write_indented(indent, "// ", out) && write_default(property, ENUM_BARE, out) &&
          buffer_append_text(out, "\n")))
        return false;
    if (!write_indented(indent, name, out) || !buffer_append_text(out, ":\n")) return false;
    size_t index;
    json_array_foreach(variants, index, variant)
    {
        const json_t *description = text_member(variant, "description");
        if ((index == 0 && print_above) || (description && above && json_equal(description, above))) description = NULL;
        if (!write_variant(variant, indent, description, ENUM_BARE, out) || !buffer_append_text(out, "\n"))
            return false;
    }
    return write_indented(indent, ",\n", out);
}

/* `name` is the key, with "?" when optional. */
static bool write_property(const char *name, const json_t *property, int indent, buffer *out)
{
    if (!write_property_comments(property, indent, out)) return false;
    const json_t *one_of = json_object_get(property, "oneOf");
    if (json_is_array(one_of)) return write_one_of_property(name, property, indent, out);

    if (!write_indented(indent, name, out) || !buffer_append_text(out, ": ") ||
        !write_nullable_type(property, indent + 4, out) || !buffer_append_text(out, ","))
        return false;
    if (!one_of && json_object_get(property, "default") &&
        !(buffer_append_text(out, " // ") && write_default(property, ENUM_BARE, out)))
        return false;
    return buffer_append_text(out, "\n");
}

static bool write_object_type(const json_t *schema, int indent, buffer *out)
{
    const json_t *description = text_member(schema, "description");
    json_t *required = required_names(schema);
    bool ok =
        required && (!description || write_comment(indent, description, "\n", out)) && buffer_append_text(out, "{\n");

    json_t *properties = json_object_get(schema, "properties");
    buffer name = {0};
    for (void *at = json_object_iter(properties); ok && at; at = json_object_iter_next(properties, at)) {
        const char *key = json_object_iter_key(at);
        size_t size = json_object_iter_key_len(at);
        buffer_clear(&name);
        ok = buffer_append(&name, key, size) &&
             (json_object_getn(required, key, size) || buffer_append_text(&name, "?")) &&
             write_property(name.data, json_object_iter_value(at), indent, out);
    }
    buffer_free(&name);
    json_decref(required);
    return ok && write_indented(indent, "}", out);
}

static bool write_named_type(const char *type, const json_t *schema, int indent, buffer *out)
{
    if (strcmp(type, "object") == 0) return write_object_type(schema, indent, out);
    if (strcmp(type, "string") == 0) return write_string_type(schema, out);
    if (strcmp(type, "number") == 0 || strcmp(type, "integer") == 0) return buffer_append_text(out, "number");
    if (strcmp(type, "boolean") == 0) return buffer_append_text(out, "boolean");
    if (strcmp(type, "array") != 0) return buffer_append_text(out, "any");
    const json_t *items = json_object_get(schema, "items");
    if (!items) return buffer_append_text(out, "Array<any>");
    return write_type(items, indent, out) && buffer_append_text(out, "[]");
}

static bool write_type(const json_t *schema, int indent, buffer *out)
{
    const json_t *one_of = json_object_get(schema, "oneOf");
    if (json_is_array(one_of)) return write_one_of(one_of, indent, out);

    const json_t *type = json_object_get(schema, "type");
    size_t count;
    if (!write_alternatives(type, "", true, out, &count)) return false;
    if (count) return true;
    return json_is_string(type) ? write_named_type(json_string_value(type), schema, indent, out)
                                : buffer_append_text(out, "any");
}

bool harmony_schema_typescript(const json_t *schema, buffer *out)
{
    size_t kept = out->size;
    if (harmony_json_depth_allowed(schema) && write_type(schema, 0, out)) return true;
    out->size = kept;
    if (out->data) out->data[kept] = '\0';
    return false;
}
