/* The page at / and its files: bytes that are in the program, with the headers that keep a browser from running anything else. */
#include "runtime/server/page.h"

#include <string.h>

/* Scripts and styles come from this server alone, and no text can become markup: what a model writes is shown as text. Images are the icon. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
                             "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

static const char *type_of(const char *name)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".svg", "image/svg+xml"},
    };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(ending, types[i].ending)) return types[i].type;
    return "application/octet-stream";
}

static const page_file *find(const char *name)
{
    const page_file *f = page_files;
    while (f->name && strcmp(f->name, name)) f++;
    return f->name ? f : NULL;
}

/* Whether If-None-Match names the tag (RFC 9110 section 13.1.2). Tags hold no comma and no quote inside, so looking for the quoted text compares whole
 * tags; a "W/" before it makes no difference to this comparison. */
static bool has_tag(http_slice header, const char *tag)
{
    size_t size = strlen(tag);
    if (http_slice_is(header, "*")) return true;
    return header.size >= size && memmem(header.data, header.size, tag, size);
}

/* The page's files belong to one version of the program, so a browser asks each time and is answered "not modified" nearly always. */
static void reply(const route_call *call, const page_file *f)
{
    http_exchange *x = call->exchange;
    http_exchange_header(x, "ETag", f->tag);
    http_exchange_header(x, "Cache-Control", "no-cache");
    http_exchange_header(x, "Content-Security-Policy", policy);
    http_exchange_header(x, "X-Content-Type-Options", "nosniff");
    http_exchange_header(x, "Referrer-Policy", "no-referrer");
    bool known = has_tag(http_head_find(call->head, "if-none-match"), f->tag);
    http_exchange_reply(x, known ? 304 : 200, type_of(f->name), (const char *)f->data, f->size);
}

void page_index_endpoint(const route_call *call) { reply(call, find("index.html")); }

void page_file_endpoint(const route_call *call)
{
    const page_file *f = find(call->tail);
    if (f) {
        reply(call, f);
        return;
    }
    api_error error;
    api_error_set(&error, 404, NULL, "The page has no file of this name.");
    routes_reply_error(call->exchange, &error);
}
