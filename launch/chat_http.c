#include "launch/chat_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/chat_refusal.h"
#include "runtime/base/buffer.h"

enum { CONNECT_SECONDS = 10, ERROR_MOST = 64 << 10 /* bytes of an error's body that are read */ };

/* Ends after the last character that is not in `set`. */
static void trim(char *text, const char *set)
{
    size_t n = strlen(text);
    while (n && strchr(set, text[n - 1])) text[--n] = '\0';
}

static status add_header(chat_http *http, const char *line, status_detail *detail)
{
    struct curl_slist *longer = curl_slist_append(http->headers, line);
    if (!longer) return status_fail(detail, STATUS_MACHINE, "out of memory");
    http->headers = longer;
    return STATUS_OK;
}

static status add_key(chat_http *http, const char *path, status_detail *detail)
{
    char key[4096] = "";
    FILE *file = fopen(path, "re");
    if (!file) return status_fail(detail, STATUS_USAGE, "--api-key-file %s: %s", path, strerror(errno));
    bool there = fgets(key, sizeof key, file);
    fclose(file);
    trim(key, " \t\r\n");
    if (!there || !*key || strlen(key) == sizeof key - 1)
        return status_fail(detail, STATUS_USAGE, "--api-key-file %s: its first line holds no key", path);
    buffer line = {0};
    status result = buffer_printf(&line, "Authorization: Bearer %s", key) ? add_header(http, line.data, detail)
                                                                          : status_fail(detail, STATUS_MACHINE, "out of memory");
    buffer_free(&line);
    return result;
}

status chat_http_open(const char *url, const char *key_file, int signals, chat_http *out, status_detail *detail)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return status_fail(detail, STATUS_USAGE, "--url: found '%.128s', allowed is an address such as http://127.0.0.1:8000", url);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return status_fail(detail, STATUS_MACHINE, "libcurl does not start");
    chat_http http = {.url = strdup(url), .key_file = key_file, .multi = curl_multi_init(), .signals = signals};
    status result = http.url && http.multi ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "out of memory");
    if (result == STATUS_OK) {
        trim(http.url, "/");
        size_t n = strlen(http.url);
        if (n > 3 && strcmp(http.url + n - 3, "/v1") == 0) http.url[n - 3] = '\0'; /* as other clients are told */
        result = add_header(&http, "Content-Type: application/json", detail);
    }
    if (result == STATUS_OK) result = add_header(&http, "Expect:", detail); /* a long conversation goes out at once */
    if (result == STATUS_OK && key_file) result = add_key(&http, key_file, detail);
    if (result == STATUS_OK)
        *out = http;
    else
        chat_http_close(&http);
    return result;
}

void chat_http_close(chat_http *http)
{
    curl_slist_free_all(http->headers);
    if (http->multi) {
        curl_multi_cleanup(http->multi);
        curl_global_cleanup();
    }
    free(http->url);
    *http = (chat_http){0};
}

/* One answer as it comes in. */
typedef struct answer {
    CURL *easy;
    const chat_http_request *request;
    buffer error; /* the body when it is no 200 */
    status taken; /* what request->take said */
    status_detail *detail;
} answer;

static size_t take_body(char *data, size_t one, size_t n, void *user)
{
    answer *a = user;
    long code = 0;
    (void)one;
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &code);
    if (code == 200) {
        a->taken = a->request->take(a->request->user, data, n, a->detail);
        return a->taken == STATUS_OK ? n : 0;
    }
    size_t room = ERROR_MOST - a->error.size;
    return buffer_append(&a->error, data, n < room ? n : room) ? n : 0;
}

/* A proxy of the environment is not asked for this very machine. */
static bool is_local(const char *url)
{
    char *host = NULL;
    CURLU *parts = curl_url();
    bool local = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                 (strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0);
    curl_free(host);
    curl_url_cleanup(parts);
    return local;
}

static bool prepare(const chat_http *http, answer *a, const char *url)
{
    CURL *easy = a->easy;
    bool good = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK && curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_USERAGENT, "gptoss-tp") == CURLE_OK && curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK && curl_easy_setopt(easy, CURLOPT_WRITEDATA, a) == CURLE_OK;
    if (good && is_local(url)) good = curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK;
    if (good && a->request->body) good = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, a->request->body) == CURLE_OK;
    return good;
}

/* Until the answer's end or a signal that breaks it off. */
static CURLcode perform(chat_http *http, CURL *easy, chat_signal *stopped)
{
    CURLcode result = CURLE_FAILED_INIT;
    struct curl_waitfd signals = {.fd = http->signals, .events = CURL_WAIT_POLLIN};
    if (curl_multi_add_handle(http->multi, easy) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    for (int running = 1; running;) {
        CURLMcode good = curl_multi_perform(http->multi, &running);
        if (good == CURLM_OK && running) good = curl_multi_poll(http->multi, &signals, http->signals >= 0, 1000, NULL);
        if (good != CURLM_OK) break;
        chat_signal came = chat_signals_take(http->signals);
        if (running && (came == CHAT_SIGNAL_INTERRUPT || came == CHAT_SIGNAL_LEAVE)) {
            *stopped = came;
            break;
        }
    }
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));)
        if (message->msg == CURLMSG_DONE) result = message->data.result;
    curl_multi_remove_handle(http->multi, easy);
    return result;
}

static status judge(const chat_http *http, const answer *a, CURLcode ended, status_detail *detail)
{
    chat_refusal_context context = {.url = http->url, .key_file = http->key_file, .model = a->request->model};
    long code = 0;
    curl_off_t wait = 0;
    if (a->taken != STATUS_OK) return a->taken;
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(a->easy, CURLINFO_RETRY_AFTER, &wait);
    context.retry_after = (long)wait;
    if (code && code != 200) return chat_refusal_http(code, a->error.data ? a->error.data : "", a->error.size, &context, detail);
    if (ended == CURLE_OK) return STATUS_OK;
    if (ended == CURLE_COULDNT_CONNECT || ended == CURLE_OPERATION_TIMEDOUT)
        return status_fail(detail, STATUS_PEER, "nothing answers at %s: start the server (gptoss-tp configs/20b.yaml), or give its address with --url",
                           http->url);
    if (ended == CURLE_COULDNT_RESOLVE_HOST) return status_fail(detail, STATUS_PEER, "%s: no such host; give another --url", http->url);
    if (ended == CURLE_URL_MALFORMAT) return status_fail(detail, STATUS_USAGE, "--url: '%.128s' is no address; http://127.0.0.1:8000 is one", http->url);
    return status_fail(detail, STATUS_PEER, "%s: %s%s", http->url, curl_easy_strerror(ended), code ? "; what came is kept, ask again" : "");
}

status chat_http_run(chat_http *http, chat_http_request *request, status_detail *detail)
{
    buffer url = {0};
    answer a = {.easy = curl_easy_init(), .request = request, .detail = detail};
    status result;
    request->stopped = CHAT_SIGNAL_NONE;
    if (!a.easy || !buffer_append_text(&url, http->url) || !buffer_append_text(&url, request->path) || !prepare(http, &a, url.data)) {
        result = status_fail(detail, STATUS_MACHINE, "out of memory");
    } else {
        CURLcode ended = perform(http, a.easy, &request->stopped);
        result = request->stopped == CHAT_SIGNAL_NONE ? judge(http, &a, ended, detail) : STATUS_OK;
    }
    buffer_free(&a.error);
    curl_easy_cleanup(a.easy);
    buffer_free(&url);
    return result;
}
