/* The backends of this build; ops.c picks among them. */
#ifndef KERNELS_OPS_TABLE_H
#define KERNELS_OPS_TABLE_H

#include "kernels/ops.h"

extern const ops cpu_ops;

#endif
