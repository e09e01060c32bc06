/* MPI and what starts ranks. */
#include <ctype.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/doctor.h"
#include "launch/job.h"

/* Whether PATH has an executable of that name; writes where. */
static bool find_in_path(const char *name, char *out, size_t size)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t length = strcspn(path, ":");
        int written = snprintf(out, size, "%.*s/%s", (int)length, length ? path : ".", name);
        if (written > 0 && (size_t)written < size && access(out, X_OK) == 0) return true;
        path += length + (path[length] == ':');
    }
    return false;
}

/* The first number such as "4.1.4" in a text; "" when there is none. */
static void find_version(const char *text, char out[32])
{
    for (out[0] = '\0'; *text; text++) {
        size_t length = strspn(text, "0123456789.");
        if (length >= 3 && length < 32 && isdigit((unsigned char)text[0]) && memchr(text, '.', length)) {
            memcpy(out, text, length);
            out[length] = '\0';
            return;
        }
        if (length) text += length - 1;
    }
}

static void launcher_version(char out[32])
{
    char line[256] = "";
    FILE *pipe = popen("mpirun --version 2>/dev/null", "r");
    if (pipe && !fgets(line, sizeof line, pipe)) line[0] = '\0';
    if (pipe) pclose(pipe);
    find_version(line, out);
}

static void check_launcher(doctor *d)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING], path[512], ours[32], theirs[32];
    int length = 0;
    if (MPI_Get_library_version(library, &length) != MPI_SUCCESS) strcpy(library, "unknown MPI library");
    library[strcspn(library, ",\n")] = '\0';
    find_version(library, ours);
    if (!find_in_path("mpirun", path, sizeof path)) {
        bool slurm = find_in_path("srun", path, sizeof path);
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "MPI", slurm ? "start ranks with srun --mpi=pmix" : "apt install openmpi-bin, or add the folder of mpirun to PATH",
                    "%s; mpirun is not in PATH%s", library, slurm ? ", srun is" : "");
        return;
    }
    launcher_version(theirs);
    if (*ours && *theirs && strcmp(ours, theirs) != 0)
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "MPI", "put the mpirun that belongs to the library first in PATH", "%s, but %s has version %s", library,
                    path, theirs);
    else
        doctor_line(d, DOCTOR_OK, STATUS_OK, "MPI", NULL, "%s; %s", library, path);
}

static void check_root(doctor *d)
{
    if (geteuid() != 0) return;
    if (getenv("OMPI_ALLOW_RUN_AS_ROOT") && getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"))
        doctor_line(d, DOCTOR_OK, STATUS_OK, "root", NULL, "mpirun is allowed to run as root");
    else
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "root", "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                    "mpirun refuses to run as root");
}

/* Open MPI counts a slot for each core and refuses more ranks than slots. */
static void check_slots(doctor *d)
{
    int cores = job_threads(1), wanted = d->gpu.count > 1 ? d->gpu.count : 1;
    bool allowed = getenv("OMPI_MCA_rmaps_base_oversubscribe") != NULL;
    if (wanted > cores && !allowed)
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "ranks", "mpirun --oversubscribe", "%d GPUs, but mpirun starts at most %d rank%s on %d core%s", wanted, cores,
                    cores == 1 ? "" : "s", cores, cores == 1 ? "" : "s");
    else
        doctor_line(d, DOCTOR_OK, STATUS_OK, "ranks", NULL, "%s%d here%s", allowed ? "more than " : "mpirun starts up to ", cores,
                    allowed ? " are allowed by OMPI_MCA_rmaps_base_oversubscribe" : "; for more: mpirun --oversubscribe");
}

void doctor_mpi_check(doctor *d)
{
    check_launcher(d);
    check_root(d);
    check_slots(d);
}
