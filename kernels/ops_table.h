/* The backends of this build; ops.c picks among them. */
#ifndef KERNELS_OPS_TABLE_H
#define KERNELS_OPS_TABLE_H

#include "kernels/ops.h"

extern const ops cpu_ops;

/* In builds with CUDA. */
extern const ops cuda_ops;
/* Whether the driver shows a GPU. Takes none: a process that only asks leaves no trace on any. */
bool cuda_present(void);

#endif
