/* The YAML reader of settings.h: libyaml's events against the option table.
 *
 * The file has exactly two levels, sections and keys, so the reader follows that shape and stops at the first event that does not fit:
 * nothing nests, nothing is expanded. Anchors, aliases and tags are refused; a configuration needs none and an alias can blow up.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "runtime/base/buffer.h"
#include "runtime/base/settings.h"
#include "runtime/base/settings_table.h"

enum { SETTINGS_MAX_FILE = 1 << 20, SETTINGS_MAX_ITEMS = 256, SETTINGS_MAX_KEY = 128 };

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; type NO_EVENT: none */
    settings *s;
    const char *name, *data;
    size_t size;
    int seen[SETTINGS_MAX_OPTIONS]; /* line where row i was given; 0: not yet */
    struct {
        char name[SETTINGS_MAX_KEY];
        int line;
    } sections[SETTINGS_MAX_OPTIONS]; /* sections met so far */
    int n_sections;
    status_detail *detail;
} reader;

static int event_line(const reader *r) { return (int)r->event.start_mark.line + 1; }

static int line_of(const reader *r, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset && i < r->size; i++) line += r->data[i] == '\n';
    return line;
}

static status syntax_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "unreadable";
    if (p->error == YAML_MEMORY_ERROR) return status_fail(r->detail, STATUS_MACHINE, "%s: out of memory", r->name);
    if (p->error == YAML_READER_ERROR) /* bytes that are not text: only the offset is known */
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: found bytes that are not UTF-8 text (%s at byte %zu), allowed is UTF-8", r->name,
                           line_of(r, p->problem_offset), problem, p->problem_offset);
    return status_fail(r->detail, STATUS_USAGE, "%s:%zu: not valid YAML: %s%s%s (column %zu)", r->name, p->problem_mark.line + 1,
                       p->context ? p->context : "", p->context ? ", " : "", problem, p->problem_mark.column + 1);
}

/* The next event becomes the current one. Anchors, aliases, tags and NUL bytes end here, wherever they stand. */
static status advance(reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        r->event.type = YAML_NO_EVENT;
        return syntax_error(r);
    }
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        if (strlen((const char *)r->event.data.scalar.value) != r->event.data.scalar.length)
            return status_fail(r->detail, STATUS_USAGE, "%s:%d: found a NUL character, allowed is text without one", r->name, event_line(r));
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    case YAML_ALIAS_EVENT: anchor = r->event.data.alias.anchor; break;
    default: break;
    }
    if (anchor || tag) {
        char shown[SETTINGS_SHOWN];
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: found the %s %s, allowed are plain values: anchors, aliases and tags are not read",
                           r->name, event_line(r), anchor ? (r->event.type == YAML_ALIAS_EVENT ? "alias" : "anchor") : "tag",
                           settings_show((const char *)(anchor ? anchor : tag), shown));
    }
    return STATUS_OK;
}

/* "found a list", "found 'x'", ...: the current event, for messages. */
static const char *found(const reader *r, char out[SETTINGS_SHOWN])
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: return settings_show((const char *)r->event.data.scalar.value, out);
    case YAML_SEQUENCE_START_EVENT: return "a list";
    case YAML_MAPPING_START_EVENT: return "a mapping (keys with values)";
    default: return "the end";
    }
}

static settings_scalar current_scalar(const reader *r)
{
    return (settings_scalar){(const char *)r->event.data.scalar.value, r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE};
}

static status refuse_value(reader *r, const char *key, const settings_option *option)
{
    char shown[SETTINGS_SHOWN], allowed[256];
    return status_fail(r->detail, STATUS_USAGE, "%s:%d: key %s: found %s, allowed is %s", r->name, event_line(r), key, found(r, shown),
                       settings_allowed(option, allowed, sizeof allowed));
}

/* The current event is the value's first. */
static status read_value(reader *r, const settings_option *option)
{
    int line = event_line(r);
    settings_scalar items[SETTINGS_MAX_ITEMS] = {0};
    size_t count = 0;
    status result = STATUS_OK;
    if (r->event.type == YAML_SCALAR_EVENT) {
        items[0] = current_scalar(r);
        result = settings_assign(r->s, option, items, 1, r->detail);
        return result == STATUS_OK ? STATUS_OK : status_prefix(r->detail, result, "%s:%d: key %s", r->name, line, option->key);
    }
    if (r->event.type != YAML_SEQUENCE_START_EVENT || option->type != SETTINGS_LIST) return refuse_value(r, option->key, option);
    for (;;) {
        result = advance(r);
        if (result != STATUS_OK || r->event.type == YAML_SEQUENCE_END_EVENT) break;
        if (r->event.type != YAML_SCALAR_EVENT || count == SETTINGS_MAX_ITEMS) {
            result = refuse_value(r, option->key, option);
            break;
        }
        items[count] = current_scalar(r);
        items[count].text = strdup(items[count].text);
        if (!items[count].text) {
            result = status_fail(r->detail, STATUS_MACHINE, "out of memory");
            break;
        }
        count++;
    }
    if (result == STATUS_OK) {
        result = settings_assign(r->s, option, items, count, r->detail);
        if (result != STATUS_OK) status_prefix(r->detail, result, "%s:%d: key %s", r->name, line, option->key);
    }
    for (size_t i = 0; i < count; i++) free((char *)items[i].text);
    return result;
}

static status refuse_twice(reader *r, const char *what, const char *key, int line, int first)
{
    return status_fail(r->detail, STATUS_USAGE, "%s:%d: %s %s: found a second time, allowed is once (first in line %d)", r->name, line, what,
                       key, first);
}

static status refuse_key(reader *r, const char *key, int line)
{
    char shown[SETTINGS_SHOWN];
    const char *nearest = settings_nearest_key(key);
    return status_fail(r->detail, STATUS_USAGE, "%s:%d: key %s: unknown%s%s%s", r->name, line, settings_show(key, shown),
                       nearest ? "; did you mean " : "; gptoss-tp --help lists the keys", nearest ? nearest : "", nearest ? "?" : "");
}

/* A key and its value; the current event is the key. `section` is "" at the top. */
static status read_pair(reader *r, const char *section)
{
    char key[SETTINGS_MAX_KEY], shown[SETTINGS_SHOWN];
    int line = event_line(r);
    if (r->event.type != YAML_SCALAR_EVENT)
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: found %s as a key, allowed is a name", r->name, line, found(r, shown));
    snprintf(key, sizeof key, "%s%s%s", section, *section ? "." : "", (const char *)r->event.data.scalar.value);
    const settings_option *option = settings_find(key);
    if (!option || (!*section && strchr(key, '.'))) return refuse_key(r, key, line);
    size_t count, row = (size_t)(option - settings_table(&count));
    if (r->seen[row]) return refuse_twice(r, "key", key, line, r->seen[row]);
    r->seen[row] = line;
    STATUS_TRY(advance(r));
    return read_value(r, option);
}

/* A section's name and what is in it; the current event is the name. */
static status read_section(reader *r, const char *name)
{
    int line = event_line(r);
    for (int i = 0; i < r->n_sections; i++)
        if (strcmp(r->sections[i].name, name) == 0) return refuse_twice(r, "section", name, line, r->sections[i].line);
    snprintf(r->sections[r->n_sections].name, SETTINGS_MAX_KEY, "%s", name);
    r->sections[r->n_sections++].line = line;
    STATUS_TRY(advance(r));
    if (r->event.type == YAML_SCALAR_EVENT) {
        settings_scalar value = current_scalar(r);
        if (settings_is_null(&value)) return STATUS_OK; /* every key of the section is commented out */
    }
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        char shown[SETTINGS_SHOWN];
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: section %s: found %s, allowed are keys below it, indented", r->name, event_line(r),
                           name, found(r, shown));
    }
    for (;;) {
        STATUS_TRY(advance(r));
        if (r->event.type == YAML_MAPPING_END_EVENT) return STATUS_OK;
        STATUS_TRY(read_pair(r, name));
    }
}

/* The current event starts the document's root. */
static status read_root(reader *r)
{
    if (r->event.type == YAML_SCALAR_EVENT) {
        settings_scalar value = current_scalar(r);
        if (settings_is_null(&value)) return STATUS_OK;
    }
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        char shown[SETTINGS_SHOWN];
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: found %s, allowed are sections such as model: with keys below them", r->name,
                           event_line(r), found(r, shown));
    }
    for (;;) {
        STATUS_TRY(advance(r));
        if (r->event.type == YAML_MAPPING_END_EVENT) return STATUS_OK;
        char name[SETTINGS_MAX_KEY] = "";
        if (r->event.type == YAML_SCALAR_EVENT) snprintf(name, sizeof name, "%s", (const char *)r->event.data.scalar.value);
        STATUS_TRY(settings_is_section(name) ? read_section(r, name) : read_pair(r, ""));
    }
}

static status read_stream(reader *r)
{
    STATUS_TRY(advance(r)); /* the stream's start */
    STATUS_TRY(advance(r));
    if (r->event.type == YAML_STREAM_END_EVENT) return STATUS_OK;
    STATUS_TRY(advance(r));
    STATUS_TRY(read_root(r));
    STATUS_TRY(advance(r)); /* the document's end */
    STATUS_TRY(advance(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return status_fail(r->detail, STATUS_USAGE, "%s:%d: found a second document, allowed is one", r->name, event_line(r));
    return STATUS_OK;
}

static status read_once(settings *s, const char *name, const char *data, size_t size, status_detail *detail)
{
    reader r = {.s = s, .name = name, .data = data, .size = size, .detail = detail};
    if (!yaml_parser_initialize(&r.parser)) return status_fail(detail, STATUS_MACHINE, "%s: out of memory", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, size);
    status result = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return result;
}

status settings_read_yaml(settings *s, const char *name, const char *data, size_t size, status_detail *detail)
{
    if (size > SETTINGS_MAX_FILE)
        return status_fail(detail, STATUS_USAGE, "%s: found %zu bytes, allowed are %d: not a configuration file", name, size,
                           SETTINGS_MAX_FILE);
    /* Everything is tried on settings of its own first, so that a wrong file leaves `s` as it was. */
    settings trial;
    STATUS_TRY(settings_init(&trial, detail));
    status result = read_once(&trial, name, data, size, detail);
    settings_free(&trial);
    if (result != STATUS_OK) return result;
    return read_once(s, name, data, size, detail);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    return S_ISCHR(mode) || S_ISBLK(mode) ? "a device" : "no file";
}

static status refuse_kind(const char *path, mode_t mode, status_detail *detail)
{
    return status_fail(detail, STATUS_USAGE, "%s: found %s, allowed is a regular file: give the path of a YAML configuration", path, kind_of(mode));
}

/* Anything else may wait for a writer or never end. Looked at before it is opened, as opening alone can set a device going, and again
 * after, as another may have taken its place. */
static status open_regular(const char *path, FILE **out, status_detail *detail)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) return refuse_kind(path, info.st_mode, detail);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return status_fail(detail, STATUS_USAGE, "%s: cannot open the configuration: %s", path, strerror(errno));
    if (fstat(fd, &info) == 0 && !S_ISREG(info.st_mode)) {
        close(fd);
        return refuse_kind(path, info.st_mode, detail);
    }
    *out = fdopen(fd, "rb");
    if (*out) return STATUS_OK;
    close(fd);
    return status_fail(detail, STATUS_MACHINE, "%s: out of memory", path);
}

status settings_read_file(settings *s, const char *path, status_detail *detail)
{
    buffer text = {0};
    status result = STATUS_OK;
    FILE *file = NULL;
    STATUS_TRY(open_regular(path, &file, detail));
    while (text.size <= SETTINGS_MAX_FILE) {
        if (!buffer_reserve(&text, 65536)) {
            result = status_fail(detail, STATUS_MACHINE, "%s: out of memory", path);
            break;
        }
        size_t got = fread(text.data + text.size, 1, 65536, file);
        text.size += got;
        if (got == 0) break;
    }
    if (result == STATUS_OK && ferror(file))
        result = status_fail(detail, STATUS_USAGE, "%s: cannot read the configuration: %s", path, strerror(errno));
    if (result == STATUS_OK) result = settings_read_yaml(s, path, text.data, text.size, detail);
    fclose(file);
    buffer_free(&text);
    return result;
}
