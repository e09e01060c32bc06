#include "launch/bench_limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/bench_samples.h"
#include "launch/gpu_probe.h"

enum { READ_BYTES = 256 << 20, READ_TIMES = 5 };

/* Measured: reading by 16-byte loads with several in flight in each thread; products of 8192 x 8192 BF16 matrices of random numbers. */
static const struct {
    const char *part; /* of the device's name */
    roofline_limits limits;
} known[] = {
    {"H200", {4.55e12, 790e12}},
};

static const char *of_table = "known for this device", *of_option = "as given", *of_measurement = "measured by reading 256 MiB",
                  *of_nothing = "unknown";

static void cpu_name(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "CPU");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value || !value[1]) continue;
        value[strcspn(value, "\n")] = '\0';
        snprintf(out, size, "%s", value + 2);
        break;
    }
    if (file) fclose(file);
}

static void gpu_name(int gpu, char *out, size_t size)
{
    gpu_probe *probe = malloc(sizeof *probe);
    snprintf(out, size, "GPU");
    if (probe) gpu_probe_run(probe);
    if (probe && gpu < probe->count) snprintf(out, size, "%s", probe->devices[gpu].name);
    free(probe);
}

/* Bytes per second that `threads` threads read of memory that they wrote before; the best of a few times, 0 without memory. */
static double measure_reading(int threads)
{
    size_t count = READ_BYTES / sizeof(uint64_t);
    uint64_t *words = malloc(READ_BYTES), sum = 0;
    double best = 0;
    if (!words) return 0;
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < count; i++) words[i] = i;
    for (int time = 0; time < READ_TIMES; time++) {
        double begin = bench_samples_now();
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
        for (size_t i = 0; i < count; i++) sum += words[i];
        double rate = READ_BYTES / (bench_samples_now() - begin);
        if (rate > best) best = rate;
    }
    /* the sum is needed, or there would be nothing to read for */
    if (sum == 1) best = 0;
    free(words);
    return best;
}

void bench_limits_find(const ops_caps *caps, int gpu, int sharers, int threads, const roofline_limits *given, bench_limits *out)
{
    bench_limits found = {.bandwidth_from = of_nothing, .flops_from = of_nothing};
    if (caps->host_memory)
        cpu_name(found.device, sizeof found.device);
    else
        gpu_name(gpu, found.device, sizeof found.device);
    for (size_t i = 0; i < sizeof known / sizeof *known && !caps->host_memory; i++) {
        if (!strstr(found.device, known[i].part)) continue;
        found.limits = (roofline_limits){known[i].limits.bandwidth / sharers, known[i].limits.flops / sharers};
        found.bandwidth_from = found.flops_from = of_table;
    }
    if (given->bandwidth > 0) {
        found.limits.bandwidth = given->bandwidth;
        found.bandwidth_from = of_option;
    } else if (caps->host_memory) {
        found.limits.bandwidth = measure_reading(threads);
        found.bandwidth_from = of_measurement;
    }
    if (given->flops > 0) {
        found.limits.flops = given->flops;
        found.flops_from = of_option;
    }
    *out = found;
}
