/* Rank 0's thread of a batch: reads the input, keeps the server busy with it, writes what comes back, and ends the engine when all is done.
 *
 * It holds what is in flight and the hashes of custom_ids, however long the input is.
 */
#ifndef LAUNCH_BATCH_FEED_H
#define LAUNCH_BATCH_FEED_H

#include "launch/batch_ids.h"
#include "launch/batch_output.h"
#include "runtime/base/status.h"
#include "runtime/engine/engine.h"

typedef struct batch_feed_options {
    engine *engine;              /* asked whether it goes on, and ended; this and what follows must live until batch_feed_finish() */
    int port;                    /* the server's */
    const char *api_key;         /* copied */
    int in_flight;               /* requests at once, 1 or more */
    size_t max_line;             /* bytes; a longer line is an error */
    int input;                   /* a descriptor, read to its end */
    int64_t n_lines;             /* of the input; 0: not known */
    int64_t n_before;            /* of them done by earlier runs */
    batch_ids *ids;              /* holds those */
    batch_output *answers, *errors;
} batch_feed_options;

typedef struct batch_tally {
    int64_t answered, failed;    /* lines written to each file in this run */
    int64_t skipped;             /* lines that an earlier run had done */
    int64_t prompt_tokens, completion_tokens;
    double seconds;
    bool complete;               /* the whole input was dealt with */
} batch_tally;

typedef struct batch_feed batch_feed;

status batch_feed_start(const batch_feed_options *options, batch_feed **out, status_detail *detail);
/* Waits for its end, which comes at the latest after the engine and the server are gone. Frees it. *out is written whatever is returned. */
status batch_feed_finish(batch_feed *f, batch_tally *out, status_detail *detail);

#endif
