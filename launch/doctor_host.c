/* Cores, memory, /dev/shm, the port. */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launch/doctor.h"
#include "launch/job.h"
#include "runtime/base/bytes.h"

/* Containers often come with 64 MiB of /dev/shm, which MPI and NCCL fill with a few ranks. */
enum { LEAST_SHARED = 256 << 20 };
/* Host memory that a rank may use for staging and the rest of the program. */
#define LEAST_MEMORY ((int64_t)4 << 30)

/* Cores that the control group lets us use, 0: no limit. */
static double core_quota(void)
{
    double quota = 0, period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    bool limited = file && fscanf(file, "%lf %lf", &quota, &period) == 2 && period > 0;
    if (file) fclose(file);
    return limited ? quota / period : 0;
}

static void check_cores(doctor *d)
{
    int cores = job_threads(1);
    double quota = core_quota();
    bool tight = quota > 0 && quota < cores;
    if (tight)
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "cores", "set OMP_NUM_THREADS or engine.threads so that all ranks together use no more",
                    "%d, but the control group gives the time of %.1f", cores, quota);
    else
        doctor_line(d, DOCTOR_OK, STATUS_OK, "cores", NULL, "%d", cores);
}

static void check_memory(doctor *d)
{
    char text[32];
    bool little = d->host_memory < LEAST_MEMORY;
    doctor_line(d, little ? DOCTOR_WARN : DOCTOR_OK, STATUS_OK, "memory", little ? "close other programs, or raise the container's limit" : NULL,
                "%s free", bytes_format(d->host_memory, text));
}

static void check_shared(doctor *d)
{
    struct statvfs info;
    char text[32];
    if (statvfs("/dev/shm", &info) != 0) {
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "/dev/shm", "mount -t tmpfs tmpfs /dev/shm", "%s", strerror(errno));
        return;
    }
    int64_t left = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
    bool little = left < LEAST_SHARED;
    doctor_line(d, little ? DOCTOR_WARN : DOCTOR_OK, STATUS_OK, "/dev/shm", little ? "docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm" : NULL,
                "%s free%s", bytes_format(left, text), little ? ", which several ranks may fill" : "");
}

/* Tries to bind as the server would. 0, or the error. */
static int try_bind(const struct addrinfo *a)
{
    int on = 1, error = 0, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0) error = errno;
    close(fd);
    return error;
}

static void check_port(doctor *d)
{
    const char *host = d->settings.server.host;
    char port[16], mend[160];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    snprintf(port, sizeof port, "%" PRId64, d->settings.server.port);
    int unknown = getaddrinfo(host, port, &hints, &found);
    if (unknown) {
        doctor_line(d, DOCTOR_FAIL, STATUS_MACHINE, "port", "--host 127.0.0.1, or 0.0.0.0 for all addresses of this machine", "host %s: %s", host,
                    gai_strerror(unknown));
        return;
    }
    int error = try_bind(found);
    for (const struct addrinfo *a = found->ai_next; a && error; a = a->ai_next) error = try_bind(a);
    freeaddrinfo(found);
    if (!error) {
        doctor_line(d, DOCTOR_OK, STATUS_OK, "port", NULL, "%s:%s is free", host, port);
        return;
    }
    if (error == EADDRINUSE)
        snprintf(mend, sizeof mend, "--port N, or ss -ltnp 'sport = :%s' shows who has it", port);
    else if (error == EACCES)
        snprintf(mend, sizeof mend, "--port 8000, or another above 1023");
    else
        snprintf(mend, sizeof mend, "--host 127.0.0.1, or 0.0.0.0 for all addresses of this machine");
    /* Without a configuration nobody said that this port is wanted. */
    doctor_line(d, d->configured ? DOCTOR_FAIL : DOCTOR_WARN, STATUS_MACHINE, "port", mend, "%s:%s: %s", host, port, strerror(error));
}

void doctor_host_check(doctor *d)
{
    check_cores(d);
    check_memory(d);
    check_shared(d);
    check_port(d);
}
