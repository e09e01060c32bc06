#include "launch/serve_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/bytes.h"
#include "runtime/base/log.h"

/* What a rank tells of itself. */
typedef struct rank_line {
    char device[64], host[64];
    int64_t weights;
} rank_line;

static void log_layout(const model *m)
{
    static const char *const attention[] = {"auto", "tp", "dp"}, *const experts[] = {"auto", "tp", "ep"};
    const shard_plan *p = model_get_plan(m);
    log_info("layout: attention %s over %d rank%s in %d group%s, experts %s over %d%s%s", attention[p->layout.attention], p->tp,
             p->tp == 1 ? "" : "s", p->dp, p->dp == 1 ? "" : "s", experts[p->layout.experts], p->world, *p->why ? ": " : "", p->why);
}

status serve_report_ranks(world *w, const model *m, const engine *e, int threads, status_detail *detail)
{
    rank_line mine = {.weights = shard_plan_bytes(model_get_plan(m))};
    ops_caps caps;
    model_get_caps(m, &caps);
    if (caps.host_memory)
        snprintf(mine.device, sizeof mine.device, "%s, %d thread%s", caps.name, threads, threads == 1 ? "" : "s");
    else
        snprintf(mine.device, sizeof mine.device, "%s %d", caps.name, world_local_rank(w));
    gethostname(mine.host, sizeof mine.host - 1);

    bool prints = world_rank(w) == 0;
    rank_line *all = prints ? calloc((size_t)world_size(w), sizeof *all) : NULL;
    if (prints && !all) return status_fail(detail, STATUS_MACHINE, "out of memory");
    status result = world_gather(w, &mine, sizeof mine, all, detail);
    if (result == STATUS_OK && prints) {
        int64_t kv_tokens = engine_kv_tokens(e) / model_get_plan(m)->dp; /* ranks of a group hold different heads of the same tokens */
        char bytes[32];
        for (int r = 0; r < world_size(w); r++)
            log_info("rank %d on %s: %s, %s of weights, KV cache of %" PRId64 " tokens", r, all[r].host, all[r].device,
                     bytes_format(all[r].weights, bytes), kv_tokens);
        log_layout(m);
    }
    free(all);
    return result;
}

void serve_report_url(const char *host, int port)
{
    bool v6 = strchr(host, ':') != NULL;
    log_info("listening on http://%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
}
