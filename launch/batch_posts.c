#include "launch/batch_posts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_BYTES = 64 << 10 }; /* memory of an answer that is kept for the next */

static size_t take(char *data, size_t one, size_t n, void *user)
{
    batch_post *p = user;
    (void)one;
    p->no_memory = !buffer_append(&p->answer, data, n);
    return p->no_memory ? 0 : n;
}

/* What holds for every request of one place. Answers may take hours, so there is no time-out but the server's; and no proxy stands between. */
static bool open_post(batch_post *p)
{
    p->easy = curl_easy_init();
    return p->easy && curl_easy_setopt(p->easy, CURLOPT_PRIVATE, p) == CURLE_OK && curl_easy_setopt(p->easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(p->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, p) == CURLE_OK;
}

status batch_posts_open(int port, const char *api_key, int n, batch_posts *out, status_detail *detail)
{
    batch_posts b = {.multi = curl_multi_init(), .posts = calloc((size_t)n, sizeof *b.posts), .n = n};
    bool good = b.multi && b.posts;
    snprintf(b.url, sizeof b.url, "http://127.0.0.1:%d", port);
    snprintf(b.authorization, sizeof b.authorization, "Authorization: Bearer %s", api_key);
    for (int i = 0; good && i < n; i++) good = open_post(&b.posts[i]);
    good = good && curl_multi_setopt(b.multi, CURLMOPT_MAXCONNECTS, (long)n) == CURLM_OK;
    if (good) {
        *out = b;
        return STATUS_OK;
    }
    if (!b.posts) b.n = 0;
    batch_posts_close(&b);
    return status_fail(detail, STATUS_MACHINE, "no memory for %d requests at once", n);
}

void batch_posts_close(batch_posts *b)
{
    for (int i = 0; i < b->n; i++) {
        batch_post *p = &b->posts[i];
        if (p->easy) curl_multi_remove_handle(b->multi, p->easy);
        curl_easy_cleanup(p->easy);
        curl_slist_free_all(p->headers);
        batch_request_free(&p->request);
        buffer_free(&p->answer);
    }
    free(b->posts);
    curl_multi_cleanup(b->multi);
    *b = (batch_posts){0};
}

batch_post *batch_posts_free_one(batch_posts *b)
{
    if (b->n_busy == b->n) return NULL;
    while (b->posts[b->next_free].state != BATCH_POST_FREE) b->next_free = (b->next_free + 1) % b->n;
    return &b->posts[b->next_free];
}

static bool add_header(batch_post *p, const char *line)
{
    struct curl_slist *longer = curl_slist_append(p->headers, line);
    if (longer) p->headers = longer;
    return longer;
}

static bool prepare(const batch_posts *b, batch_post *p)
{
    char url[128], id[64];
    snprintf(url, sizeof url, "%s%s", b->url, p->request.url);
    snprintf(id, sizeof id, "X-Request-Id: %s", p->id);
    curl_slist_free_all(p->headers);
    p->headers = NULL;
    /* Without "Expect:" libcurl would ask before it sends a large body, and wait for the answer. */
    return add_header(p, "Content-Type: application/json") && add_header(p, "Expect:") && add_header(p, b->authorization) && add_header(p, id) &&
           curl_easy_setopt(p->easy, CURLOPT_URL, url) == CURLE_OK && curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers) == CURLE_OK &&
           curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->request.body.size) == CURLE_OK &&
           curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, p->request.body.data) == CURLE_OK;
}

bool batch_posts_send(batch_posts *b, batch_post *p)
{
    buffer_clear(&p->answer);
    p->no_memory = false;
    if (!prepare(b, p) || curl_multi_add_handle(b->multi, p->easy) != CURLM_OK) return false;
    if (p->state == BATCH_POST_FREE) b->n_busy++;
    if (p->state == BATCH_POST_WAITING) b->n_waiting--;
    p->state = BATCH_POST_FLYING;
    return true;
}

batch_post *batch_posts_back(batch_posts *b, int *http)
{
    int running, left;
    char *of = NULL;
    long code = 0;
    curl_multi_perform(b->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(b->multi, &left));) {
        if (m->msg != CURLMSG_DONE) continue;
        CURL *easy = m->easy_handle;
        CURLcode result = m->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &of);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
        curl_multi_remove_handle(b->multi, easy);
        batch_post *p = (batch_post *)(void *)of;
        p->result = result;
        *http = result == CURLE_OK ? (int)code : 0;
        return p;
    }
    return NULL;
}

void batch_posts_wait(batch_posts *b, batch_post *p, double again_at)
{
    p->state = BATCH_POST_WAITING;
    p->again_at = again_at;
    b->n_waiting++;
}

void batch_posts_drop(batch_posts *b, batch_post *p)
{
    if (p->state == BATCH_POST_WAITING) b->n_waiting--;
    if (p->state != BATCH_POST_FREE) b->n_busy--;
    if (p->answer.capacity > KEEP_BYTES) buffer_free(&p->answer);
    p->state = BATCH_POST_FREE;
    p->tries = 0;
}
