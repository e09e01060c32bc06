/* The start-up lines of serve. */
#ifndef LAUNCH_SERVE_REPORT_H
#define LAUNCH_SERVE_REPORT_H

#include "comm/comm.h"
#include "runtime/base/status.h"
#include "runtime/engine/engine.h"
#include "runtime/model/model.h"

/* Collective. Logs on rank 0: a line per rank with its device, bytes of weights and KV cache in tokens, then the layout and why. */
status serve_report_ranks(world *w, const model *m, const engine *e, int threads, status_detail *detail);

/* [rank 0] The last line: where the API is. */
void serve_report_url(const char *host, int port);

#endif
