/* One connection: asks for a part, takes its bytes, and judges how it ended. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/http_refusal.h"
#include "runtime/fetch/retry.h"
#include "runtime/fetch/transfer_internal.h"
#include "runtime/fetch/url.h"

enum { RECEIVE_BUFFER = 256 << 10, PAGE_MOST = 64 << 10 };

static int64_t missing(const slot *s)
{
    const partial_file *p = s->flow->item->partial;
    return part_plan_length(partial_file_plan(p), s->part) - partial_file_part_done(p, s->part);
}

/* The byte of the file that the request asked to begin with, before any came. */
static int64_t first_byte(const slot *s)
{
    const partial_file *p = s->flow->item->partial;
    return part_plan_start(partial_file_plan(p), s->part) + partial_file_part_done(p, s->part);
}

/* "bytes FIRST-LAST/SIZE" (RFC 9110 14.4) of a 206: is it the range asked for, of a file of the right size? */
static bool is_range_asked_for(const slot *s)
{
    struct curl_header *header;
    int64_t first, last, size;
    if (curl_easy_header(s->easy, "Content-Range", 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return false;
    if (sscanf(header->value, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64, &first, &last, &size) != 3) return false;
    return first == first_byte(s) && last == first + missing(s) - 1 && size == s->flow->item->file->size;
}

/* Looks at the head of the answer before its first byte. */
static void judge_head(slot *s)
{
    status_detail detail;
    long code = 0;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
    s->judged = true;
    s->is_page = code >= 300;
    if (code == 206) s->takes_body = is_range_asked_for(s);
    if (code != 200) return;
    s->whole = partial_file_plan(s->flow->item->partial)->count > 1;
    if (s->whole) return;
    /* The file in one part: what was here of it comes again. */
    status result = partial_file_rewind(s->flow->item->partial, s->part, &detail);
    transfer_fail(s->run, result, &detail);
    s->takes_body = result == STATUS_OK;
}

/* Returning less than n ends the request; slot_ended() knows why. */
static size_t take_bytes(char *data, size_t one, size_t n, void *user)
{
    slot *s = user;
    status_detail detail;
    (void)one;
    if (!s->judged) judge_head(s);
    if (s->is_page) { /* read to its end, for libcurl forgets where a cut redirect leads, and keeps no cut connection */
        s->page_bytes += n;
        return s->page_bytes <= PAGE_MOST ? n : 0;
    }
    if (!s->takes_body) return 0;
    size_t fits = (int64_t)n < missing(s) ? n : (size_t)missing(s);
    status result = partial_file_write(s->flow->item->partial, s->part, data, fits, &detail);
    transfer_fail(s->run, result, &detail);
    if (result != STATUS_OK) return 0;
    s->received += (int64_t)fits;
    return fits;
}

static void go_idle(slot *s)
{
    curl_multi_remove_handle(s->run->multi, s->easy);
    curl_slist_free_all(s->headers);
    free(s->url);
    s->headers = NULL;
    s->url = NULL;
    s->flow = NULL;
}

/* Takes over `url`, which is malloc'ed, or NULL when there was no memory for it. */
static void send_request(slot *s, char *url)
{
    status_detail detail;
    const partial_file *p = s->flow->item->partial;
    bool everything = partial_file_plan(p)->count == 1 && partial_file_part_done(p, s->part) == 0;
    char range[64];
    s->url = url;
    s->judged = s->takes_body = s->is_page = s->whole = false;
    s->page_bytes = 0;
    s->received = 0;
    snprintf(range, sizeof range, "%" PRId64 "-%" PRId64, first_byte(s), first_byte(s) + missing(s) - 1);
    bool good = url && http_prepare(s->easy, s->run->http, url, &s->headers);
    good = good && curl_easy_setopt(s->easy, CURLOPT_RANGE, everything ? NULL : range) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK && curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_PRIVATE, (char *)s) == CURLE_OK &&
           curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER) == CURLE_OK &&
           curl_multi_add_handle(s->run->multi, s->easy) == CURLM_OK;
    if (good) return;
    transfer_fail(s->run, status_fail(&detail, STATUS_MACHINE, "out of memory"), &detail);
    slot_stop(s);
}

void slot_start(slot *s, flow *f, uint32_t part)
{
    s->flow = f;
    s->part = part;
    s->redirects = 0;
    f->parts[part].busy = true;
    send_request(s, strdup(f->resolved ? f->resolved : f->item->url));
}

void slot_stop(slot *s)
{
    if (!s->flow) return;
    s->flow->parts[s->part].busy = false;
    go_idle(s);
}

/* False: it is none that may be followed. */
static bool follow(slot *s)
{
    char *to = s->redirects < HTTP_MOST_REDIRECTS ? http_redirect(s->easy, s->url) : NULL;
    if (!to) return false;
    flow *f = s->flow;
    int redirects = s->redirects + 1;
    uint32_t part = s->part;
    free(f->resolved); /* the file's other parts go there at once */
    f->resolved = strdup(to);
    go_idle(s);
    s->flow = f;
    s->part = part;
    s->redirects = redirects;
    send_request(s, to);
    return true;
}

/* Another try of the part, or the end of the run. */
static void try_again(slot *s, CURLcode ended, int code)
{
    transfer *t = s->run;
    flow *f = s->flow;
    part_state *part = &f->parts[s->part];
    status_detail detail;
    curl_off_t asked = 0;
    bool redirected = strcmp(s->url, f->item->url) != 0;
    retry_verdict verdict = retry_judge(code, redirected);
    if (s->received > 0) part->tries = 0;
    part->tries++;
    if (verdict == RETRY_NEVER) {
        transfer_fail(t, http_refusal(code, s->url, t->http->token && url_same_origin(s->url, t->http->endpoint), &detail), &detail);
    } else if (part->tries > t->http->retries) {
        const char *why = code == 206 && !s->takes_body ? "another range, or size, than asked for" : curl_easy_strerror(ended);
        transfer_fail(t, http_gave_up(part->tries, code, why, s->url, &detail), &detail);
    } else {
        curl_easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &asked);
        double now = http_now(), delay = retry_delay(part->tries, (double)asked, &t->random);
        if (verdict == RETRY_RESOLVE && f->resolved && strcmp(f->resolved, s->url) == 0) {
            free(f->resolved);
            f->resolved = NULL;
        }
        if (verdict == RETRY_RESOLVE && part->tries == 1) delay = 0; /* that it ran out is no sign of trouble */
        if (verdict == RETRY_PAUSE && now + delay > t->pause_until) t->pause_until = now + delay;
        part->not_before = now + delay;
    }
    slot_stop(s);
}

void slot_ended(slot *s, CURLcode ended)
{
    transfer *t = s->run;
    flow *f = s->flow;
    long code = 0;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
    if (!s->judged && ended == CURLE_OK && code < 300) judge_head(s); /* a body of no bytes */
    if (t->failure != STATUS_OK) {
        slot_stop(s);
    } else if (s->whole) {
        transfer_restart_flow(t, f, f->item->file->size);
    } else if (s->takes_body && missing(s) == 0) {
        f->parts[s->part].tries = 0;
        slot_stop(s);
        transfer_part_ended(t, f);
    } else if (code < 300 || code >= 400 || !follow(s)) {
        try_again(s, ended, (int)code);
    }
}
