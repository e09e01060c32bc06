/* What the rest of comm/ needs of a world. */
#ifndef COMM_WORLD_INTERNAL_H
#define COMM_WORLD_INTERNAL_H

#include <mpi.h>

#include "comm/comm.h"

/* The world's own communicator, which stays the world's; MPI_COMM_NULL without a launcher. Errors return. */
MPI_Comm world_communicator(const world *w);

#endif
