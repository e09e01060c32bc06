/* gptoss-tp plan: what every rank would hold. */
#include <stdio.h>

#include "launch/configuration.h"
#include "launch/verb.h"
#include "runtime/model/shard_plan.h"

static status plan_run(int argc, char **argv, verb_failure *failure)
{
    int64_t ranks = 1, memory = 0;
    const argument own[] = {
        {.flag = "--ranks", .type = ARGUMENT_INT, .to = &ranks, .least = 1, .most = 64},
        {.flag = "--memory", .type = ARGUMENT_BYTES, .to = &memory},
    };
    settings s;
    model_config config;
    char dir[CONFIGURATION_MAX_PATH];
    STATUS_TRY(configuration_read(argc, argv, own, sizeof own / sizeof *own, &s, &failure->detail));
    status result = configuration_locate(&s, true, dir, &config, &failure->detail);
    if (result == STATUS_OK) {
        printf("%s: %s\n", s.model.names.items[0], *dir ? dir : "no files here; the published shape");
        shard_layout layout = {s.parallel.attention, s.parallel.experts};
        result = shard_plan_print(stdout, &config, layout, (int)ranks, memory, &failure->detail);
    }
    settings_free(&s);
    return result;
}

const verb verb_plan = {
    .name = "plan",
    .synopsis = "CONFIG [--ranks N] [--memory BYTES]",
    .summary = "what every rank would hold and how many bytes; needs no GPU and no weights",
    .flags = "  --ranks N        how many ranks to plan for, 1 to 64; default 1\n"
             "  --memory BYTES   memory of one device, such as 80GiB: says whether it fits\n",
    .configured = true,
    .alone = true,
    .run = plan_run,
};
