/* Put before the real NCCL, this makes it seem as old, or as new, as FAKE_NCCL says. */
#include <stdlib.h>

int ncclGetVersion(int *version);

int ncclGetVersion(int *version)
{
    *version = atoi(getenv("FAKE_NCCL"));
    return 0;
}
