#include "runtime/fetch/transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/hub_path.h"
#include "runtime/fetch/transfer_internal.h"

enum { POLL_MILLISECONDS = 100, WRONG_MOST = 2 /* times a file may have another checksum than the hub's listing says */ };

void transfer_fail(transfer *t, status code, const status_detail *detail)
{
    if (code == STATUS_OK || t->failure != STATUS_OK) return;
    t->failure = code;
    if (t->detail) *t->detail = *detail;
}

static void note(transfer *t, const char *line) { t->http->events->note(t->http->events->user, line); }

static status fresh_parts(flow *f, status_detail *detail)
{
    uint32_t count = partial_file_plan(f->item->partial)->count;
    part_state *parts = calloc((size_t)count + 1, sizeof *parts);
    if (!parts) return status_fail(detail, STATUS_MACHINE, "out of memory");
    free(f->parts);
    f->parts = parts;
    return STATUS_OK;
}

static void complete_flow(transfer *t, flow *f)
{
    free(f->parts);
    free(f->resolved);
    f->parts = NULL;
    f->resolved = NULL;
    checker_submit(t->checker, f->item);
}

void transfer_part_ended(transfer *t, flow *f)
{
    if (!partial_file_complete(f->item->partial)) return;
    for (int i = 0; i < t->n_slots; i++)
        if (t->slots[i].flow == f) return; /* it has its last byte, and libcurl has yet to say so */
    complete_flow(t, f);
}

status transfer_open_flow(transfer *t, flow *f)
{
    status_detail detail;
    fetch_item *item = f->item;
    status result = STATUS_OK;
    if (!item->partial)
        result = partial_file_open(item->data, item->record, item->file->size, t->options->part_bytes, &item->partial, &detail);
    if (result == STATUS_OK) result = fresh_parts(f, &detail);
    transfer_fail(t, result, &detail);
    if (result != STATUS_OK) return result;
    item->state = ITEM_FETCHING;
    if (partial_file_complete(item->partial)) complete_flow(t, f); /* an earlier fetch ended just before the check */
    return STATUS_OK;
}

void transfer_restart_flow(transfer *t, flow *f, int64_t part_bytes)
{
    status_detail detail;
    for (int i = 0; i < t->n_slots; i++)
        if (t->slots[i].flow == f) slot_stop(&t->slots[i]);
    status result = partial_file_restart(f->item->partial, part_bytes, &detail);
    if (result == STATUS_OK) result = fresh_parts(f, &detail);
    transfer_fail(t, result, &detail);
}

/* A part of this file that may be asked for now. */
static bool find_part(const flow *f, double now, uint32_t *out)
{
    const partial_file *p = f->item->partial;
    const part_plan *plan = partial_file_plan(p);
    for (uint32_t i = 0; i < plan->count; i++) {
        if (f->parts[i].busy || f->parts[i].not_before > now || partial_file_part_done(p, i) == part_plan_length(plan, i)) continue;
        *out = i;
        return true;
    }
    return false;
}

static void start_slot(transfer *t, slot *s)
{
    uint32_t part;
    double now = http_now();
    for (size_t i = 0; i < t->items->count && t->failure == STATUS_OK; i++) {
        flow *f = &t->flows[i];
        if (f->item->state == ITEM_WAITING && transfer_open_flow(t, f) != STATUS_OK) return;
        if (f->item->state != ITEM_FETCHING || !find_part(f, now, &part)) continue;
        slot_start(s, f, part);
        return;
    }
}

static flow *flow_of(transfer *t, const fetch_item *item) { return &t->flows[item - t->items->items]; }

/* The checksum does not fit. */
static void begin_anew(transfer *t, fetch_item *item)
{
    char line[HUB_PATH_MOST + 256];
    status_detail detail;
    if (item->present) { /* an older file, or one that the user changed */
        item->present = false;
        item->state = ITEM_WAITING;
        return;
    }
    item->wrong++;
    if (item->wrong < WRONG_MOST) {
        snprintf(line, sizeof line, "%s: what came has another checksum than the hub's listing says; fetching it again", item->file->path);
        note(t, line);
    }
    item->state = ITEM_FETCHING;
    transfer_restart_flow(t, flow_of(t, item), t->options->part_bytes);
    if (item->wrong < WRONG_MOST) return;
    transfer_fail(t,
                  status_fail(&detail, STATUS_MODEL,
                              "%.200s: fetched twice, and both times its checksum is not the hub's (%s found, %s expected): something on the "
                              "way changes it, or the hub's listing is wrong; try later, or another source",
                              item->file->path, item->found, item->file->digest),
                  &detail);
}

static void take_checked(transfer *t)
{
    for (fetch_item *item; (item = checker_take(t->checker));) {
        transfer_fail(t, item->checked, &item->detail);
        if (item->checked != STATUS_OK)
            item->state = item->partial ? ITEM_FETCHING : ITEM_WAITING;
        else if (item->matches)
            item->state = ITEM_DONE;
        else
            begin_anew(t, item);
    }
}

static bool finished(const transfer *t)
{
    for (size_t i = 0; i < t->items->count; i++)
        if (t->items->items[i].state != ITEM_DONE) return false;
    return true;
}

static void take_ended(transfer *t)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(t->multi, &left))) {
        slot *s;
        CURLcode ended = message->data.result;
        if (message->msg == CURLMSG_DONE && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&s) == CURLE_OK) slot_ended(s, ended);
    }
}

static void loop(transfer *t)
{
    const fetch_events *events = t->http->events;
    status_detail detail;
    int running;
    while (t->failure == STATUS_OK && !finished(t)) {
        if (events->cancelled(events->user)) {
            transfer_fail(t, status_fail(&detail, STATUS_BUSY, "interrupted"), &detail);
            return;
        }
        for (int i = 0; i < t->n_slots && t->pause_until <= http_now(); i++)
            if (!t->slots[i].flow) start_slot(t, &t->slots[i]);
        CURLMcode result = curl_multi_perform(t->multi, &running);
        take_ended(t);
        take_checked(t);
        events->progress(events->user, fetch_items_done(t->items), t->items->total);
        if (result == CURLM_OK && t->failure == STATUS_OK) result = curl_multi_poll(t->multi, NULL, 0, POLL_MILLISECONDS, NULL);
        if (result != CURLM_OK) transfer_fail(t, status_fail(&detail, STATUS_MACHINE, "libcurl: %s", curl_multi_strerror(result)), &detail);
    }
}

/* On the checker's thread: ends a wait in curl_multi_poll(). */
static void wake(void *user) { curl_multi_wakeup(user); }

static status open_all(transfer *t)
{
    bool good = t->flows && t->slots && (t->multi = curl_multi_init());
    for (int i = 0; good && i < t->n_slots; i++) {
        t->slots[i].run = t;
        good = (t->slots[i].easy = curl_easy_init());
    }
    if (!good) return status_fail(t->detail, STATUS_MACHINE, "out of memory");
    for (size_t i = 0; i < t->items->count; i++) t->flows[i].item = &t->items->items[i];
    return checker_open(t->items->count, wake, t->multi, &t->checker, t->detail);
}

static void close_all(transfer *t)
{
    checker_close(t->checker); /* first: it may hold items */
    for (int i = 0; t->slots && i < t->n_slots; i++) {
        slot_stop(&t->slots[i]);
        curl_easy_cleanup(t->slots[i].easy);
    }
    for (size_t i = 0; t->flows && i < t->items->count; i++) {
        free(t->flows[i].parts);
        free(t->flows[i].resolved);
    }
    curl_multi_cleanup(t->multi);
    free(t->slots);
    free(t->flows);
}

status transfer_run(const http_settings *http, const fetch_options *options, fetch_items *items, status_detail *detail)
{
    transfer t = {.http = http,
                  .options = options,
                  .items = items,
                  .flows = calloc(items->count + 1, sizeof *t.flows),
                  .slots = calloc((size_t)options->connections, sizeof *t.slots),
                  .n_slots = options->connections,
                  .random = (uint64_t)(http_now() * 1e6) | 1,
                  .detail = detail};
    status result = open_all(&t);
    if (result == STATUS_OK) {
        for (size_t i = 0; i < items->count; i++)
            if (items->items[i].present && items->items[i].state == ITEM_WAITING) checker_submit(t.checker, &items->items[i]);
        loop(&t);
        result = t.failure;
    }
    close_all(&t);
    return result;
}
