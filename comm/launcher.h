/* What the launcher (mpirun, srun, ...) says in the environment, and the Open MPI settings that follow from it.
 *
 * Everything is read through a lookup function, so that tests can hand in an environment of their own. */
#ifndef COMM_LAUNCHER_H
#define COMM_LAUNCHER_H

#include <stdbool.h>

/* Like getenv(): the value of `name`, or NULL. */
typedef char *(*launcher_lookup)(const char *name);

typedef struct launcher {
    bool present;   /* a launcher started this process as a rank of a job: MPI_Init is due */
    int size;       /* ranks in the job; 0: not told */
    int local_size; /* ranks on this host; 0: not told */
} launcher;

/* Pure but for `lookup`. Numbers that are missing, not positive or malformed count as not told. */
launcher launcher_read(launcher_lookup lookup);

/* One MCA parameter for Open MPI, as an environment variable. Other MPI libraries ignore it. */
typedef struct launcher_default {
    const char *name, *value;
} launcher_default;

#define LAUNCHER_DEFAULTS 6

/* The defaults for this job: quick and quiet on one host, nothing that narrows the choice of network between hosts.
 * `cores`: online ones; `cross_memory`: whether process_vm_readv() works here. Returns how many of `out` are filled. */
int launcher_choose(const launcher *l, long cores, bool cross_memory, launcher_default out[LAUNCHER_DEFAULTS]);

/* Puts those of launcher_choose() into the environment that are not there yet: what the user or mpirun's --mca set
 * stays. Call before MPI_Init and before there are threads. */
void launcher_prepare(const launcher *l);

#endif
