/* Requests of a batch on their way to the server and back, over libcurl. One thread. */
#ifndef LAUNCH_BATCH_POSTS_H
#define LAUNCH_BATCH_POSTS_H

#include <curl/curl.h>

#include "launch/batch_line.h"
#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

typedef enum batch_post_state { BATCH_POST_FREE, BATCH_POST_FLYING, BATCH_POST_WAITING } batch_post_state;

typedef struct batch_post {
    batch_post_state state;
    batch_request request;
    int64_t line;            /* of the input */
    char id[33];
    int tries;               /* that failed */
    double again_at;         /* WAITING: CLOCK_MONOTONIC seconds */
    buffer answer;
    /* of the transfer */
    CURL *easy;
    struct curl_slist *headers;
    CURLcode result;
    bool no_memory;
} batch_post;

typedef struct batch_posts {
    CURLM *multi;
    char url[64];            /* what a path is put after */
    char authorization[128];
    batch_post *posts;       /* [n] */
    int n, n_busy, n_waiting; /* busy: flying and waiting */
    int next_free;           /* where the search for a free one begins */
} batch_posts;

/* At most n at once, to the server at this port of 127.0.0.1. */
status batch_posts_open(int port, const char *api_key, int n, batch_posts *out, status_detail *detail);
/* Breaks what still flies. */
void batch_posts_close(batch_posts *b);

/* A free one, whose request can be filled in. NULL: all are busy. It stays free until it is sent. */
batch_post *batch_posts_free_one(batch_posts *b);
/* The request leaves, for the first time or again. False: no memory. */
bool batch_posts_send(batch_posts *b, batch_post *p);
/* Gets on with the transfers and returns one that came back, which is then neither flying nor free; NULL: none is there. *http is 0 when there was
 * no whole answer. */
batch_post *batch_posts_back(batch_posts *b, int *http);
/* What becomes of one that came back: it shall be sent again at a time, or is done with. The second is for waiting ones too. */
void batch_posts_wait(batch_posts *b, batch_post *p, double again_at);
void batch_posts_drop(batch_posts *b, batch_post *p);

#endif
