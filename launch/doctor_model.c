/* Model files, and on how many ranks they fit. */
#include <stdio.h>
#include <string.h>

#include "launch/doctor.h"
#include "launch/serve_text.h"
#include "runtime/base/bytes.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/shard_plan.h"

static void check_tensors(doctor *d, const char *dir, const model_config *config)
{
    checkpoint *c;
    status_detail why;
    status result = checkpoint_open(dir, config, false, &c, &why);
    if (result != STATUS_OK) {
        doctor_line(d, DOCTOR_FAIL, result, "tensors", "copy the files again from where they came", "%s", why.text);
        return;
    }
    checkpoint_close(c);
    doctor_line(d, DOCTOR_OK, STATUS_OK, "tensors", NULL, "all there, with the right shapes and sizes (%s layout)",
                config->original_layout ? "OpenAI's" : "Hugging Face's");
}

static void check_text(doctor *d, const char *dir, const model_config *config)
{
    serve_text *text;
    const tokenizer *t;
    const harmony *h;
    status_detail why;
    status result = serve_text_start(dir, &text, &why);
    if (result == STATUS_OK) {
        result = serve_text_wait(text, config->vocab, &t, &h, &why);
        if (result == STATUS_OK)
            doctor_line(d, DOCTOR_OK, STATUS_OK, "tokenizer", NULL, "%d ids, harmony's special tokens are among them", (int)tokenizer_size(t));
        serve_text_close(text);
    }
    if (result != STATUS_OK)
        doctor_line(d, DOCTOR_FAIL, result, "tokenizer", "copy tokenizer.json from where the weights came from", "%s", why.text);
}

/* Bytes of weights on the rank that holds most. */
static status most_bytes(const model_config *config, shard_layout layout, int ranks, shard_plan *out, status_detail *detail)
{
    for (int r = 0; r < ranks; r++) {
        shard_plan p;
        STATUS_TRY(shard_plan_make(config, layout, r, ranks, &p, detail));
        if (r == 0 || shard_plan_bytes(&p) > shard_plan_bytes(out)) *out = p;
    }
    return STATUS_OK;
}

/* `each`: bytes of memory that a rank has; `gpu`: of a GPU of its own. Returns whether it fits. */
static bool check_ranks(doctor *d, const model_config *config, int ranks, int64_t each, bool gpu)
{
    shard_layout layout = {d->settings.parallel.attention, d->settings.parallel.experts};
    shard_plan p;
    status_detail why;
    char what[32], weights[32], memory[32];
    snprintf(what, sizeof what, "on %d rank%s", ranks, ranks == 1 ? "" : "s");
    if (most_bytes(config, layout, ranks, &p, &why) != STATUS_OK) {
        doctor_line(d, DOCTOR_OK, STATUS_OK, what, NULL, "impossible: %s", why.text);
        return false;
    }
    int64_t left = each - shard_plan_bytes(&p), token = shard_plan_kv_bytes(&p, config, false, gpu ? 2 : 4);
    bytes_format(shard_plan_bytes(&p), weights);
    bytes_format(each, memory);
    if (left <= 0) {
        doctor_line(d, DOCTOR_OK, STATUS_OK, what, NULL, "does not fit: %s of weights on a rank, %s of memory", weights, memory);
        return false;
    }
    doctor_line(d, DOCTOR_OK, STATUS_OK, what, NULL, "fits: %s of weights on a rank, %s of memory; what is left holds %lld tokens of context in each of %d group%s",
                weights, memory, token ? (long long)(left / token) : 0LL, p.dp, p.dp == 1 ? "" : "s");
    return true;
}

/* Smallest GPU that ranks would get. */
static int64_t gpu_memory(const gpu_probe *g)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < g->count; i++)
        if (g->devices[i].memory < least) least = g->devices[i].memory;
    return least;
}

static void check_fit(doctor *d, const model_config *config)
{
    bool gpu = d->gpu.count > 0 && d->built_with_cuda && d->settings.backend != BACKEND_CPU, fits = false;
    for (int ranks = 1; ranks <= 8; ranks *= 2) {
        bool here = check_ranks(d, config, ranks, gpu ? gpu_memory(&d->gpu) : d->host_memory / ranks, gpu);
        fits = fits || (here && (!gpu || ranks <= d->gpu.count));
    }
    if (fits) return;
    if (gpu)
        doctor_line(d, DOCTOR_FAIL, STATUS_MACHINE, "room", "take more GPUs, or a smaller model", "the weights do not fit on the %d GPU%s here",
                    d->gpu.count, d->gpu.count == 1 ? "" : "s");
    else /* files are mapped: the kernel reads them again and again */
        doctor_line(d, DOCTOR_WARN, STATUS_OK, "room", "take a machine with more memory, or a smaller model",
                    "the weights are larger than the memory, so the CPU backend will crawl");
}

void doctor_model_check(doctor *d)
{
    if (!d->configured) return;
    bool dummy = d->settings.model.weights == WEIGHTS_DUMMY;
    char dir[CONFIGURATION_MAX_PATH];
    model_config config;
    status_detail why;
    status result = configuration_locate(&d->settings, dummy, dir, &config, &why);
    if (result != STATUS_OK) {
        doctor_line(d, DOCTOR_FAIL, result, "model files", "--model PATH", "%s", why.text);
        return;
    }
    doctor_line(d, DOCTOR_OK, STATUS_OK, "model files", NULL, "%s: %d layers, %d experts, vocabulary %d", *dir ? dir : "none, the published shape",
                config.layers, config.experts, config.vocab);
    if (!dummy) check_tensors(d, dir, &config);
    check_text(d, dir, &config);
    check_fit(d, &config);
}
