#include "runtime/fetch/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "runtime/fetch/http_refusal.h"
#include "runtime/fetch/hub_listing.h"
#include "runtime/fetch/retry.h"
#include "runtime/fetch/url.h"

enum {
    CONNECT_SECONDS = 20,
    STALL_SECONDS = 30, /* without a byte */
    HOST_TRIES = 4,     /* for what mostly does not mend by itself: no network, a wrong name, a certificate that is not trusted */
};

double http_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Appends a header line; the list is freed when it cannot. */
static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer) curl_slist_free_all(*list);
    *list = longer;
    return longer;
}

bool http_prepare(CURL *easy, const http_settings *s, const char *url, struct curl_slist **headers)
{
    struct curl_slist *list = NULL;
    buffer line = {0};
    bool good = add_header(&list, "Accept: */*");
    if (good && s->token && url_same_origin(url, s->endpoint))
        good = buffer_printf(&line, "Authorization: Bearer %s", s->token) && add_header(&list, line.data);
    buffer_free(&line);
    if (!good) return false;
    curl_easy_reset(easy);
    /* Several connections are wanted, which HTTP/2 would fold into one. */
    good = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK && curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK && curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "gptoss-tp") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS) == CURLE_OK;
    if (good)
        *headers = list;
    else
        curl_slist_free_all(list);
    return good;
}

char *http_redirect(CURL *easy, const char *from)
{
    char *to = NULL;
    return curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &to) == CURLE_OK && to && url_may_follow(from, to) ? strdup(to) : NULL;
}

/* One answer as it comes in. */
typedef struct answer {
    const http_settings *settings;
    buffer *body, *next;
    size_t limit;
    bool too_large, no_memory, cancelled;
} answer;

static size_t take_body(char *data, size_t one, size_t n, void *user)
{
    answer *a = user;
    (void)one;
    a->too_large = n > a->limit - a->body->size;
    a->no_memory = !a->too_large && !buffer_append(a->body, data, n);
    return a->too_large || a->no_memory ? 0 : n;
}

static size_t take_header(char *data, size_t one, size_t n, void *user)
{
    answer *a = user;
    size_t whole = one * n;
    if (n > 5 && strncasecmp(data, "link:", 5) == 0) {
        while (n > 5 && (unsigned char)data[n - 1] <= ' ') n--;
        buffer_clear(a->next);
        hub_listing_next(data + 5, n - 5, a->next);
    }
    return whole;
}

static int ask_cancelled(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    answer *reply = user;
    (void)a, (void)b, (void)c, (void)d;
    const fetch_events *events = reply->settings->events;
    reply->cancelled |= events->cancelled(events->user);
    return reply->cancelled;
}

/* One request. `http_status` is 0 when there was no answer. */
static CURLcode request(CURL *easy, const char *url, answer *a, int *http_status)
{
    struct curl_slist *headers;
    long code = 0;
    buffer_clear(a->body);
    buffer_clear(a->next);
    if (!http_prepare(easy, a->settings, url, &headers)) return CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, ask_cancelled);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, a);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    CURLcode result = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_slist_free_all(headers);
    *http_status = (int)code;
    return result;
}

/* False: cancelled in the meantime. */
static bool wait_for(double seconds, const fetch_events *events)
{
    for (double until = http_now() + seconds; http_now() < until;) {
        if (events->cancelled(events->user)) return false;
        double rest = until - http_now();
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * (rest < 0.05 ? (rest > 0 ? rest : 0) : 0.05))}, NULL);
    }
    return true;
}

static bool seldom_mends(CURLcode result)
{
    return result == CURLE_COULDNT_RESOLVE_HOST || result == CURLE_COULDNT_RESOLVE_PROXY || result == CURLE_COULDNT_CONNECT ||
           result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE || result == CURLE_URL_MALFORMAT;
}

/* Waits before another try; a status to leave with when there shall be none. */
static status before_another(CURL *easy, const answer *a, CURLcode result, int http_status, const char *url, int tries, uint64_t *random,
                             status_detail *detail)
{
    const http_settings *s = a->settings;
    int most = seldom_mends(result) && s->retries > HOST_TRIES - 1 ? HOST_TRIES - 1 : s->retries;
    curl_off_t asked = 0;
    if (a->cancelled) return status_fail(detail, STATUS_BUSY, "interrupted");
    if (a->no_memory || result == CURLE_OUT_OF_MEMORY) return status_fail(detail, STATUS_MACHINE, "out of memory");
    if (a->too_large) return status_fail(detail, STATUS_MODEL, "the hub's answer is larger than %zu bytes, which no listing is", a->limit);
    if (result == CURLE_OK && retry_judge(http_status, false) == RETRY_NEVER)
        return http_refusal(http_status, url, s->token && url_same_origin(url, s->endpoint), detail);
    if (tries > most) return http_gave_up(tries, result == CURLE_OK ? http_status : 0, curl_easy_strerror(result), url, detail);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &asked);
    if (!wait_for(retry_delay(tries, (double)asked, random), s->events)) return status_fail(detail, STATUS_BUSY, "interrupted");
    return STATUS_OK;
}

status http_get(const http_settings *s, const char *url, size_t limit, buffer *body, buffer *next, status_detail *detail)
{
    answer a = {.settings = s, .body = body, .next = next, .limit = limit};
    status result = STATUS_OK;
    uint64_t random = (uint64_t)(http_now() * 1e6) | 1;
    int redirects = 0, tries = 0, code = 0;
    CURL *easy = curl_easy_init();
    char *at = strdup(url);
    if (!easy || !at) result = status_fail(detail, STATUS_MACHINE, "out of memory");
    while (result == STATUS_OK) {
        CURLcode ended = request(easy, at, &a, &code);
        if (ended == CURLE_OK && code == 200) break;
        char *to = ended == CURLE_OK && redirects < HTTP_MOST_REDIRECTS ? http_redirect(easy, at) : NULL;
        if (to) {
            redirects++;
            free(at);
            at = to;
            continue;
        }
        result = before_another(easy, &a, ended, code, at, ++tries, &random, detail);
    }
    if (result != STATUS_OK) {
        buffer_clear(body);
        buffer_clear(next);
    }
    free(at);
    curl_easy_cleanup(easy);
    return result;
}
