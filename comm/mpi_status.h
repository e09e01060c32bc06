/* From MPI's return codes to ours. */
#ifndef COMM_MPI_STATUS_H
#define COMM_MPI_STATUS_H

#include "runtime/base/status.h"

/* STATUS_OK for MPI_SUCCESS; otherwise STATUS_PEER with "what: MPI's text". An MPI call mostly fails because a rank died
 * a moment ago, which the watch reports better and on one rank only: a failure waits for it up to a second before it
 * returns. The communicators' error handler must be MPI_ERRORS_RETURN. */
status mpi_status(int code, const char *what, status_detail *detail);

#endif
