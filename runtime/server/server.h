/* The HTTP face: the OpenAI API over an engine. One thread with libevent, and one more that prepares large requests; runs on rank 0 only.
 */
#ifndef RUNTIME_SERVER_SERVER_H
#define RUNTIME_SERVER_SERVER_H

#include <stdint.h>

#include "runtime/base/settings.h"
#include "runtime/base/status.h"
#include "runtime/engine/engine.h"
#include "runtime/text/harmony.h"
#include "runtime/text/tokenizer.h"

typedef struct server server;

typedef struct server_options {
    const char *host;
    int port;                    /* 0: the system picks */
    const char *const *names;    /* model names; the first is what answers bear, the others are aliases */
    int n_names;
    const char *api_keys_file;   /* NULL: no keys */
    const char *api_key;         /* instead of a file: one key, copied; NULL: the file says */
    int64_t max_body;            /* bytes */
    int64_t max_responses;       /* bytes of responses and conversations kept for later calls; 0: 256 MiB */
    const int32_t *eos;          /* the model's stop ids, beside harmony's own */
    int n_eos;
} server_options;

/* Binds the port and starts the server's thread. Keeps e, t and h, which must outlive it. STATUS_MACHINE when the port is taken, saying by what option to
 * change it. */
status server_open(const server_options *options, engine *e, const tokenizer *t, const harmony *h, server **out, status_detail *detail);

int server_port(const server *s);

/* Stops accepting, lets responses that run finish as the engine delivers them, and closes. Call after engine_run has returned: every request
 * then has its FINISH event. Waits at most `seconds` for slow readers, and for the one request that may be being parsed. */
void server_close(server *s, double seconds);

#endif
