/* What the environment tells about the job before MPI is up: Open MPI, PMIx or PMI launchers, Slurm. */
#ifndef LAUNCH_JOB_H
#define LAUNCH_JOB_H

/* 0 when nothing launched us. */
int job_rank(void);
/* 1 when nothing launched us, or nobody says. */
int job_size(void);

/* Threads that each of `local_ranks` ranks on this host should use, at least 1: OMP_NUM_THREADS where it is set; else the cores this process
 * may run on, when the user had the launcher bind it; else its share of them. */
int job_threads(int local_ranks);

/* Takes back mpirun's default binding, which ties each rank of a small job to one core and with it all its threads. A binding that the user asked
 * for stays. Call before threads start. */
void job_unbind(void);

#endif
