#include "comm/mpi_status.h"

#include <mpi.h>
#include <time.h>

static status mpi_status_failed(int code, const char *what, status_detail *detail)
{
    struct timespec second = {.tv_sec = 1};
    nanosleep(&second, NULL);
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;
    MPI_Error_string(code, text, &length);
    return status_fail(detail, STATUS_PEER, "%s: MPI says: %s; a rank or the network between the ranks failed", what,
                       text);
}

status mpi_status(int code, const char *what, status_detail *detail)
{
    return code == MPI_SUCCESS ? STATUS_OK : mpi_status_failed(code, what, detail);
}
