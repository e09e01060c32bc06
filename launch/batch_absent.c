/* gptoss-tp batch, of a build without libcurl. */
#include "launch/verb.h"

static status batch_run_absent(int argc, char **argv, verb_failure *failure)
{
    (void)argc, (void)argv;
    return status_fail(&failure->detail, STATUS_MACHINE, "batch was not built in: apt-get install libcurl4-openssl-dev, then build again");
}

const verb verb_batch = {
    .name = "batch",
    .synopsis = "[CONFIG] --input FILE --output FILE",
    .summary = "answers a file of requests; not in this build, which found no libcurl",
    .run = batch_run_absent,
};
