/* What the environment tells about the job before MPI is up: Open MPI, PMIx or PMI launchers, Slurm. */
#ifndef LAUNCH_JOB_H
#define LAUNCH_JOB_H

/* 0 when nothing launched us. */
int job_rank(void);
/* 1 when nothing launched us, or nobody says. */
int job_size(void);

/* Threads that each of `local_ranks` ranks on this host should use, at least 1: OMP_NUM_THREADS where it is set; else the cores this process
 * may run on, when the launcher has bound it to its own; else its share of them. */
int job_threads(int local_ranks);

#endif
