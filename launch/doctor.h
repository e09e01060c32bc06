/* What the checks of `gptoss-tp doctor` share. A check prints one line for each thing it looked at, with doctor_line(). */
#ifndef LAUNCH_DOCTOR_H
#define LAUNCH_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/configuration.h"
#include "launch/gpu_probe.h"

typedef enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL } doctor_level;

typedef struct doctor {
    settings settings;       /* defaults where there is no configuration */
    bool configured;         /* a model is named: by a file or a flag */
    bool built_with_cuda;
    gpu_probe gpu;
    int64_t host_memory;     /* bytes that this host can still give */
    int n_failed;
    status first;            /* of the first line that failed */
    char failed[256];        /* the names of the checks that did */
} doctor;

/* Prints "LEVEL WHAT FOUND -> MEND". `mend`: the command or option that helps, NULL: none is needed. `code`: what a failure means to the
 * caller of the program; looked at only for DOCTOR_FAIL. */
void doctor_line(doctor *d, doctor_level level, status code, const char *what, const char *mend, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* Whether lines about GPUs matter: FAIL when the configuration asks for them, WARN when it leaves that open, OK when it does not use any. */
doctor_level doctor_gpu_level(const doctor *d);

/* The checks, in order. */
void doctor_gpu_check(doctor *d);
void doctor_mpi_check(doctor *d);
void doctor_host_check(doctor *d);
void doctor_model_check(doctor *d);

#endif
