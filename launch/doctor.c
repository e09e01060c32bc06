/* gptoss-tp doctor: what is wrong with this machine, and what mends it. Every check runs, whatever the others found. */
#include "launch/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "launch/verb.h"

void doctor_line(doctor *d, doctor_level level, status code, const char *what, const char *mend, const char *format, ...)
{
    static const char *const names[] = {"ok", "warn", "FAIL"};
    char found[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(found, sizeof found, format, values);
    va_end(values);
    printf("%-5s %-13s %s%s%s\n", names[level], what, found, mend ? " -> " : "", mend ? mend : "");
    fflush(stdout);
    if (level != DOCTOR_FAIL) return;
    size_t used = strlen(d->failed);
    snprintf(d->failed + used, sizeof d->failed - used, "%s%s", used ? ", " : "", what);
    if (d->n_failed++ == 0) d->first = code;
}

doctor_level doctor_gpu_level(const doctor *d)
{
    return d->settings.backend == BACKEND_CUDA ? DOCTOR_FAIL : d->settings.backend == BACKEND_AUTO ? DOCTOR_WARN : DOCTOR_OK;
}

/* The defaults and the flags, when neither a file nor a model is named. Sets *named when one is. */
static status read_flags(int argc, char **argv, settings *out, bool *named, status_detail *detail)
{
    const char *file = NULL;
    arguments none = {.positional_name = "configuration file", .positional = &file, .settings_flags = true};
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    if (!rest) return status_fail(detail, STATUS_MACHINE, "out of memory");
    memcpy(rest, argv, (size_t)argc * sizeof *rest);
    status result = settings_init(out, detail);
    if (result == STATUS_OK) {
        result = settings_take_flags(out, &argc, rest, detail);
        if (result == STATUS_OK) result = arguments_parse(&none, argc, rest, detail);
        if (result != STATUS_OK) settings_free(out);
    }
    free(rest);
    *named = file || (result == STATUS_OK && out->model.path);
    return result;
}

/* A wrong configuration is a finding like others: the rest is looked at with what the flags and defaults say. */
static status check_configuration(doctor *d, int argc, char **argv, status_detail *detail)
{
    settings whole;
    status_detail why;
    bool named = false;
    STATUS_TRY(read_flags(argc, argv, &d->settings, &named, detail));
    if (!named) {
        doctor_line(d, DOCTOR_OK, STATUS_OK, "configuration", NULL, "none given; gptoss-tp doctor CONFIG looks at its model and its port too");
        return STATUS_OK;
    }
    status result = configuration_read(argc, argv, NULL, 0, &whole, &why);
    if (result != STATUS_OK) {
        doctor_line(d, DOCTOR_FAIL, result, "configuration", NULL, "%s", why.text);
        return STATUS_OK;
    }
    settings_free(&d->settings);
    d->settings = whole;
    d->configured = true;
    doctor_line(d, DOCTOR_OK, STATUS_OK, "configuration", NULL, "%s", whole.model.path);
    return STATUS_OK;
}

static int64_t host_memory(void)
{
    const ops *cpu = ops_find("cpu");
    ops_options options = {.backend = "cpu", .threads = 1};
    ops_context *context;
    ops_caps caps = {.memory_free = 0};
    if (cpu && cpu->open(&options, &context, NULL) == STATUS_OK) {
        cpu->caps(context, &caps);
        cpu->close(context);
    }
    return caps.memory_free;
}

static status doctor_run(int argc, char **argv, verb_failure *failure)
{
    static void (*const checks[])(doctor *) = {doctor_gpu_check, doctor_mpi_check, doctor_host_check, doctor_model_check};
    doctor *d = calloc(1, sizeof *d);
    if (!d) return status_fail(&failure->detail, STATUS_MACHINE, "out of memory");
    status result = check_configuration(d, argc, argv, &failure->detail);
    if (result == STATUS_OK) {
        d->built_with_cuda = strstr(ops_names(), "cuda") != NULL;
        d->host_memory = host_memory();
        gpu_probe_run(&d->gpu);
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) checks[i](d);
        settings_free(&d->settings);
        if (d->n_failed)
            result = status_fail(&failure->detail, d->first, "%d check%s failed: %s; the lines above say what mends %s", d->n_failed,
                                 d->n_failed == 1 ? "" : "s", d->failed, d->n_failed == 1 ? "it" : "them");
    }
    free(d);
    return result;
}

const verb verb_doctor = {
    .name = "doctor",
    .synopsis = "[CONFIG]",
    .summary = "driver, GPUs, peer access, NCCL, MPI, port, model files: one line each, what is wrong and what mends it",
    .configured = true,
    .alone = true,
    .run = doctor_run,
};
