#include "runtime/fetch/url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool url_append_escaped(buffer *out, const char *text, const char *keep)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (; *text; text++) {
        bool kept = strchr(plain, *text) || strchr(keep, *text);
        if (!(kept ? buffer_append(out, text, 1) : buffer_printf(out, "%%%02X", (unsigned char)*text))) return false;
    }
    return true;
}

/* One part of an address by libcurl's own parser, the one that will send the request; NULL: none, or unreadable. Free with curl_free(). */
static char *part_of(const char *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    CURLU *parsed = curl_url();
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(parsed, part, &text, flags) != CURLUE_OK) text = NULL;
    curl_url_cleanup(parsed);
    return text;
}

static bool has_scheme(const char *url, const char *scheme)
{
    char *found = part_of(url, CURLUPART_SCHEME, 0);
    bool same = found && strcasecmp(found, scheme) == 0;
    curl_free(found);
    return same;
}

bool url_is_http(const char *url) { return has_scheme(url, "https") || has_scheme(url, "http"); }

static bool same_part(const char *a, const char *b, CURLUPart part)
{
    char *of_a = part_of(a, part, CURLU_DEFAULT_PORT), *of_b = part_of(b, part, CURLU_DEFAULT_PORT);
    bool same = of_a && of_b && strcasecmp(of_a, of_b) == 0;
    curl_free(of_a);
    curl_free(of_b);
    return same;
}

bool url_same_origin(const char *a, const char *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
}

bool url_may_follow(const char *from, const char *to) { return url_is_http(to) && (has_scheme(to, "https") || !has_scheme(from, "https")); }

const char *url_show(const char *url, char out[URL_SHOWN])
{
    CURLU *parsed = curl_url();
    char *text = NULL;
    bool good = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_set(parsed, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
                curl_url_set(parsed, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK && curl_url_set(parsed, CURLUPART_QUERY, NULL, 0) == CURLUE_OK &&
                curl_url_set(parsed, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK && curl_url_get(parsed, CURLUPART_URL, &text, 0) == CURLUE_OK;
    snprintf(out, URL_SHOWN, "%s", good ? text : "an unreadable address");
    curl_free(text);
    curl_url_cleanup(parsed);
    return out;
}
