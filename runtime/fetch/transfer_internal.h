/* The state of one transfer_run(), shared by transfer.c, which decides, and transfer_slot.c, which is one connection. */
#ifndef RUNTIME_FETCH_TRANSFER_INTERNAL_H
#define RUNTIME_FETCH_TRANSFER_INTERNAL_H

#include "runtime/fetch/checker.h"
#include "runtime/fetch/http.h"

typedef struct part_state {
    bool busy;         /* a slot has it */
    int tries;         /* that ended without a byte, one after the other */
    double not_before; /* http_now() */
} part_state;

/* An item while it is being fetched. */
typedef struct flow {
    fetch_item *item;
    part_state *parts; /* [partial_file_plan()->count]; NULL until the partial file is open */
    char *resolved;    /* where the hub last sent us for it; NULL: ask the hub */
} flow;

typedef struct transfer transfer;

typedef struct slot {
    transfer *run;
    CURL *easy;
    struct curl_slist *headers;
    flow *flow;         /* NULL: idle */
    uint32_t part;
    char *url;
    int redirects;
    bool judged;        /* the answer's head was looked at */
    bool takes_body;    /* it is the bytes asked for */
    bool is_page;       /* it is a redirect's or an error's, of no interest */
    size_t page_bytes;
    bool whole;         /* it is all of the file though a range was asked for: the server knows none */
    int64_t received;   /* bytes written by this request */
} slot;

struct transfer {
    const http_settings *http;
    const fetch_options *options;
    fetch_items *items;
    CURLM *multi;
    checker *checker;
    flow *flows;        /* [items->count] */
    slot *slots;        /* [n_slots] */
    int n_slots;
    double pause_until; /* no new request before; http_now() */
    uint64_t random;
    status failure;     /* the first one; ends the run */
    status_detail *detail;
};

/* [slot idle] Requests what is missing of that part. */
void slot_start(slot *s, flow *f, uint32_t part);
/* The request is over, however it went; the slot is idle, or following a redirect. */
void slot_ended(slot *s, CURLcode ended);
/* Drops the request; the part is free again. NULL flow: nothing to do. */
void slot_stop(slot *s);

/* The item's unfinished file is open, and the parts are free. */
status transfer_open_flow(transfer *t, flow *f);
/* The item begins anew in parts of `part_bytes`: drops all requests for it. */
void transfer_restart_flow(transfer *t, flow *f, int64_t part_bytes);
/* One more part is here; the file, once that was the last request for it. */
void transfer_part_ended(transfer *t, flow *f);
/* `code` != STATUS_OK ends the run, unless something did already; t->detail was written by whoever found it. */
void transfer_fail(transfer *t, status code, const status_detail *detail);

#endif
