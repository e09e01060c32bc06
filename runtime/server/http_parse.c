#define _GNU_SOURCE /* memmem */
#include "runtime/server/http_parse.h"

#include <string.h>
#include <strings.h>

bool http_slice_is(http_slice s, const char *text) { return s.size == strlen(text) && !memcmp(s.data, text, s.size); }

bool http_slice_is_nocase(http_slice s, const char *text) { return s.size == strlen(text) && !strncasecmp(s.data, text, s.size); }

size_t http_parse_head_size(const char *data, size_t size, size_t from)
{
    from = from > 3 ? from - 3 : 0;
    if (from >= size) return 0;
    const char *end = memmem(data + from, size - from, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

bool http_parse_ends_bare(const char *data, size_t size, size_t from)
{
    from = from > 1 ? from - 1 : 0;
    return from < size && memmem(data + from, size - from, "\n\n", 2);
}

static bool refuse(http_fault *fault, int status, const char *reason)
{
    *fault = (http_fault){status, reason};
    return false;
}

/* RFC 9110 section 5.6.2. */
static bool is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(http_slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_token_char((unsigned char)s.data[i])) return false;
    return s.size > 0;
}

/* Cuts the line off the front of `rest`; the end of line is CR LF, and neither stands alone. */
static bool take_line(http_slice *rest, http_slice *line)
{
    const char *end = memmem(rest->data, rest->size, "\r\n", 2);
    if (!end) return false;
    *line = (http_slice){rest->data, (size_t)(end - rest->data)};
    rest->size -= line->size + 2;
    rest->data = end + 2;
    return !memchr(line->data, '\n', line->size) && !memchr(line->data, '\r', line->size);
}

static bool take_word(http_slice *rest, http_slice *word)
{
    const char *space = memchr(rest->data, ' ', rest->size);
    if (!space) return false;
    *word = (http_slice){rest->data, (size_t)(space - rest->data)};
    rest->size -= word->size + 1;
    rest->data = space + 1;
    return true;
}

/* Takes query and fragment off a path. */
static void cut_query(http_slice *path, http_slice *query)
{
    const char *end = path->data + path->size, *hash = memchr(path->data, '#', path->size);
    if (hash) end = hash;
    path->size = (size_t)(end - path->data);
    const char *mark = memchr(path->data, '?', path->size);
    if (!mark) return;
    path->size = (size_t)(mark - path->data);
    *query = (http_slice){mark + 1, (size_t)(end - mark) - 1};
}

/* Origin form, absolute form (a proxy's) or "*". */
static bool parse_target(http_slice target, http_slice *path, http_slice *query, http_fault *fault)
{
    for (size_t i = 0; i < target.size; i++)
        if ((unsigned char)target.data[i] <= 0x20 || target.data[i] == 0x7f) return refuse(fault, 400, "The request target is malformed.");
    const char *scheme = memmem(target.data, target.size, "://", 3);
    if (target.size && target.data[0] != '/' && scheme) {
        size_t host = (size_t)(scheme - target.data) + 3;
        const char *slash = memchr(target.data + host, '/', target.size - host);
        *path = slash ? (http_slice){slash, target.size - (size_t)(slash - target.data)} : (http_slice){"/", 1};
    } else if (http_slice_is(target, "*") || (target.size && target.data[0] == '/')) {
        *path = target;
    } else {
        return refuse(fault, 400, "The request target is malformed.");
    }
    cut_query(path, query);
    return true;
}

static bool parse_request_line(http_slice line, http_head *out, http_fault *fault)
{
    http_slice target;
    if (!take_word(&line, &out->method) || !is_token(out->method) || !take_word(&line, &target))
        return refuse(fault, 400, "The request line is malformed.");
    if (line.size != 8 || memcmp(line.data, "HTTP/", 5) || line.data[6] != '.') return refuse(fault, 400, "The request line is malformed.");
    if (line.data[5] != '1' || (line.data[7] != '0' && line.data[7] != '1')) return refuse(fault, 505, "Only HTTP/1.0 and 1.1 are spoken here.");
    out->minor = line.data[7] - '0';
    if (target.size > HTTP_MAX_TARGET) return refuse(fault, 414, "The request target is too long.");
    return parse_target(target, &out->path, &out->query, fault);
}

static bool parse_header_line(http_slice line, http_header *out, http_fault *fault)
{
    const char *colon = memchr(line.data, ':', line.size);
    if (!colon) return refuse(fault, 400, "A header line has no colon.");
    out->name = (http_slice){line.data, (size_t)(colon - line.data)};
    if (!is_token(out->name)) return refuse(fault, 400, "A header name is malformed.");
    http_slice value = {colon + 1, line.size - out->name.size - 1};
    while (value.size && (value.data[0] == ' ' || value.data[0] == '\t')) value.data++, value.size--;
    while (value.size && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) value.size--;
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return refuse(fault, 400, "A header value holds a control character.");
    }
    out->value = value;
    return true;
}

static bool parse_length(http_slice value, int64_t *out)
{
    if (!value.size || value.size > 18) return false;
    int64_t number = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') return false;
        number = number * 10 + (value.data[i] - '0');
    }
    *out = number;
    return true;
}

/* Whether a comma-separated list holds `word`. */
static bool list_has(http_slice list, const char *word)
{
    while (list.size) {
        const char *comma = memchr(list.data, ',', list.size);
        http_slice item = {list.data, comma ? (size_t)(comma - list.data) : list.size};
        size_t step = item.size + (comma ? 1 : 0);
        while (item.size && (item.data[0] == ' ' || item.data[0] == '\t')) item.data++, item.size--;
        while (item.size && (item.data[item.size - 1] == ' ' || item.data[item.size - 1] == '\t')) item.size--;
        if (http_slice_is_nocase(item, word)) return true;
        list.data += step;
        list.size -= step;
    }
    return false;
}

/* The headers that decide where the message ends and what becomes of the connection. */
static bool apply_header(const http_header *h, http_head *out, int *hosts, bool *coded, http_fault *fault)
{
    if (http_slice_is_nocase(h->name, "content-length")) {
        int64_t length;
        if (!parse_length(h->value, &length)) return refuse(fault, 400, "Content-Length is malformed.");
        if (out->content_length >= 0 && out->content_length != length) return refuse(fault, 400, "Two different Content-Length headers.");
        out->content_length = length;
    } else if (http_slice_is_nocase(h->name, "transfer-encoding")) {
        if (*coded) return refuse(fault, 400, "Two Transfer-Encoding headers.");
        *coded = true;
        out->chunked = http_slice_is_nocase(h->value, "chunked");
        if (!out->chunked) return refuse(fault, 501, "The only Transfer-Encoding taken is chunked.");
    } else if (http_slice_is_nocase(h->name, "connection")) {
        if (list_has(h->value, "close")) out->keep_alive = false;
        else if (list_has(h->value, "keep-alive")) out->keep_alive = true;
    } else if (http_slice_is_nocase(h->name, "expect")) {
        if (!http_slice_is_nocase(h->value, "100-continue")) return refuse(fault, 417, "The only Expect taken is 100-continue.");
        out->expect_continue = out->minor == 1;
    } else if (http_slice_is_nocase(h->name, "host")) {
        ++*hosts;
    }
    return true;
}

bool http_parse_head(const char *data, size_t size, http_head *out, http_fault *fault)
{
    http_slice rest = {data, size}, line;
    http_head head = {.content_length = -1};
    int hosts = 0;
    bool coded = false;
    if (!take_line(&rest, &line)) return refuse(fault, 400, "A line ends without carriage return and line feed.");
    if (!parse_request_line(line, &head, fault)) return false;
    head.keep_alive = head.minor == 1;
    while (rest.size) {
        if (!take_line(&rest, &line)) return refuse(fault, 400, "A line ends without carriage return and line feed.");
        if (!line.size) break;
        if (head.n_headers == HTTP_MAX_HEADERS) return refuse(fault, 431, "Too many header lines.");
        http_header *header = &head.headers[head.n_headers++];
        if (!parse_header_line(line, header, fault) || !apply_header(header, &head, &hosts, &coded, fault)) return false;
    }
    if (head.minor == 1 && hosts != 1) return refuse(fault, 400, "Exactly one Host header is expected.");
    if (head.chunked && head.content_length >= 0) return refuse(fault, 400, "Content-Length together with Transfer-Encoding.");
    if (head.chunked && head.minor == 0) return refuse(fault, 400, "HTTP/1.0 has no Transfer-Encoding.");
    *out = head;
    return true;
}

http_slice http_head_find(const http_head *head, const char *name)
{
    for (int i = 0; i < head->n_headers; i++)
        if (http_slice_is_nocase(head->headers[i].name, name)) return head->headers[i].value;
    return (http_slice){NULL, 0};
}
