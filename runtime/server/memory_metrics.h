/* Prometheus figures of the ranks' device memory, asked of the engine when somebody scrapes. vLLM has none; the words used and total are those of NVIDIA's
 * exporter (DCGM_FI_DEV_FB_USED, _TOTAL), the unit is Prometheus' own. */
#ifndef RUNTIME_SERVER_MEMORY_METRICS_H
#define RUNTIME_SERVER_MEMORY_METRICS_H

#include "runtime/engine/engine.h"
#include "runtime/server/json_write.h"

/* `labels`: what all figures bear, without braces. Ranks whose memory is not known are left out. */
void memory_metrics_write(const engine *e, const char *labels, json_writer *out);

#endif
