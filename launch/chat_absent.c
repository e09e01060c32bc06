/* gptoss-tp chat, of a build without libcurl. */
#include "launch/verb.h"

static status chat_run_absent(int argc, char **argv, verb_failure *failure)
{
    (void)argc, (void)argv;
    return status_fail(&failure->detail, STATUS_MACHINE, "chat was not built in: apt-get install libcurl4-openssl-dev libedit-dev, then build again");
}

const verb verb_chat = {
    .name = "chat",
    .synopsis = "[--url URL]",
    .summary = "talks to a running server in the terminal; not in this build, which found no libcurl",
    .alone = true,
    .run = chat_run_absent,
};
