#define _GNU_SOURCE /* sched_getaffinity */
#include "launch/job.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The first of the variables that holds a number within 0..INT_MAX, or `otherwise`. */
static int first_number(const char *const *names, size_t n, int otherwise)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = getenv(names[i]);
        if (!text || !*text) continue;
        char *end;
        long value = strtol(text, &end, 10);
        if (!*end && value >= 0 && value <= INT_MAX) return (int)value;
    }
    return otherwise;
}

int job_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
    return first_number(names, 4, 0);
}

int job_size(void)
{
    /* Not SLURM_NTASKS: a batch script of many tasks has it too, while what it starts itself runs alone. */
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    return first_number(names, 3, 1);
}

/* Whether the user told mpirun where to put ranks; its default ties each rank of a small job to one core. */
static bool binding_asked(void)
{
    return getenv("OMPI_MCA_hwloc_base_binding_policy") || getenv("OMPI_MCA_rmaps_base_mapping_policy");
}

void job_unbind(void)
{
    static const char *const bound_names[] = {"OMPI_MCA_orte_bound_at_launch"};
    if (first_number(bound_names, 1, 0) == 0 || binding_asked()) return;
    cpu_set_t all;
    memset(&all, 0xff, sizeof all); /* the kernel leaves out what this job may not have */
    sched_setaffinity(0, sizeof all, &all); /* a refusal leaves the rank where it is */
}

int job_threads(int local_ranks)
{
    static const char *const asked_names[] = {"OMP_NUM_THREADS"}, *const bound_names[] = {"OMPI_MCA_orte_bound_at_launch"};
    int asked = first_number(asked_names, 1, 0);
    if (asked > 0) return asked;
    cpu_set_t cores;
    int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    if (first_number(bound_names, 1, 0) > 0 && binding_asked()) return count;
    return count > local_ranks ? count / local_ranks : 1;
}
