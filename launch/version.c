#include "launch/version.h"

#include <mpi.h>
#include <string.h>

#include "kernels/ops.h"

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "GCC " __VERSION__
#endif

#ifndef GPTOSS_CUDA_VERSION
#define GPTOSS_CUDA_VERSION "not built in"
#endif
#ifndef GPTOSS_NCCL_VERSION
#define GPTOSS_NCCL_VERSION "not built in"
#endif

void version_print(FILE *out)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (MPI_Get_library_version(library, &length) != MPI_SUCCESS) strcpy(library, "unknown");
    library[strcspn(library, ",\n")] = '\0'; /* name and version; the rest is about how it was packaged */
    fprintf(out, "gptoss-tp %s\n", GPTOSS_VERSION);
    fprintf(out, "compiler   %s, %s\n", COMPILER, *GPTOSS_BUILD_TYPE ? GPTOSS_BUILD_TYPE : "no build type");
    fprintf(out, "MPI        %s (standard %d.%d)\n", library, MPI_VERSION, MPI_SUBVERSION);
    fprintf(out, "CUDA       %s\n", GPTOSS_CUDA_VERSION);
    fprintf(out, "NCCL       %s\n", GPTOSS_NCCL_VERSION);
    fprintf(out, "backends   %s\n", ops_names());
}
