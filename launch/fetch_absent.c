/* gptoss-tp fetch, of a build without libcurl. */
#include "launch/verb.h"

static status fetch_run_absent(int argc, char **argv, verb_failure *failure)
{
    (void)argc, (void)argv;
    return status_fail(&failure->detail, STATUS_MACHINE,
                       "fetch was not built in: apt-get install libcurl4-openssl-dev libssl-dev, then build again; or huggingface_hub: hf download");
}

const verb verb_fetch = {
    .name = "fetch",
    .synopsis = "ORG/NAME",
    .summary = "downloads a checkpoint; not in this build, which found no libcurl",
    .alone = true,
    .run = fetch_run_absent,
};
