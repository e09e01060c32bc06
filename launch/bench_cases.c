/* Decode by batch size and prefill by prompt length. */
#include "launch/bench_job.h"
#include "runtime/base/log.h"

enum { WARM_STEPS = 3, LEAST_STEPS = 3, LEAST_PROMPTS = 2, MOST_PROMPTS = 100 };

static void report(bench_job *j, const bench_speed *speed)
{
    if (j->report) bench_report_speed(j->report, speed);
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

static status decode_floor(bench_job *j, int batch, bench_speed *out)
{
    roofline_step step = {.sequences = batch, .run = 1, .context = j->options.context, .logits = 1};
    STATUS_TRY(roofline_slowest(&j->config, j->plan.layout, j->plan.world, &step, (int)dtype_size(j->caps.activation), &j->limits.limits,
                                &out->work, &j->failure->detail));
    out->floor_seconds = j->limits.limits.bandwidth > 0 ? roofline_seconds(&out->work, &j->limits.limits) : 0;
    return STATUS_OK;
}

/* `skip` steps, then `count` timed ones: a step ends when the host has its results, and begins when the one before it ended. */
static status time_steps(bench_job *j, int skip, int count)
{
    status_detail *detail = &j->failure->detail;
    j->samples.count = 0;
    double last = bench_samples_now();
    for (int i = 0; i < skip + count; i++) {
        STATUS_TRY(bench_sequences_decode(j->sequences, detail));
        double now = bench_samples_now();
        if (i >= skip) j->samples.seconds[j->samples.count++] = now - last;
        last = now;
    }
    return bench_sequences_drain(j->sequences, detail);
}

static status decode_batch(bench_job *j, int batch)
{
    int dp = j->plan.dp, most = roofline_group_sequences(batch, dp, 0);
    STATUS_TRY(bench_sequences_fill(j->sequences, most, &j->failure->detail));
    bench_sequences_start_decode(j->sequences, roofline_group_sequences(batch, dp, j->plan.dp_rank), most);
    STATUS_TRY(time_steps(j, WARM_STEPS, LEAST_STEPS));
    int count = bench_samples_repeats(j->options.seconds, bench_samples_quantile(&j->samples, 0.5), LEAST_STEPS, BENCH_MAX_SAMPLES);
    STATUS_TRY(bench_job_share(j, &count));
    /* Where steps overlap with the host, the first ones fill the pipeline. */
    return time_steps(j, WARM_STEPS, count);
}

status bench_cases_decode(bench_job *j)
{
    for (int i = 0; i < j->options.batches.count; i++) {
        bench_speed speed = {.sequences = j->options.batches.values[i], .tokens = j->options.context, .samples = &j->samples};
        STATUS_TRY(decode_floor(j, speed.sequences, &speed));
        STATUS_TRY(bench_job_agree(j, decode_batch(j, speed.sequences)));
        report(j, &speed);
    }
    return STATUS_OK;
}

/* ---- prefill ----------------------------------------------------------------------------------------------------- */

/* Chunk by chunk, as a chunk must read its weights and keys whatever the others did. */
static status prefill_floor(bench_job *j, bench_speed *out)
{
    bool known = j->limits.limits.bandwidth > 0 && j->limits.limits.flops > 0;
    roofline_work sum = {0};
    out->floor_seconds = 0;
    for (int start = 0; start < out->tokens;) {
        int end = out->tokens - start > j->max_tokens ? start + j->max_tokens : out->tokens;
        roofline_step step = {.sequences = out->sequences, .run = end - start, .context = end, .logits = end == out->tokens};
        roofline_work chunk;
        STATUS_TRY(roofline_slowest(&j->config, j->plan.layout, j->plan.world, &step, (int)dtype_size(j->caps.activation), &j->limits.limits,
                                    &chunk, &j->failure->detail));
        roofline_add(&sum, &chunk);
        if (known) out->floor_seconds += roofline_seconds(&chunk, &j->limits.limits);
        start = end;
    }
    out->work = sum;
    return STATUS_OK;
}

static status time_prompts(bench_job *j, int tokens, int count)
{
    j->samples.count = 0;
    for (int i = 0; i < count; i++) {
        double begin = bench_samples_now();
        STATUS_TRY(bench_sequences_prefill(j->sequences, tokens, &j->failure->detail));
        j->samples.seconds[j->samples.count++] = bench_samples_now() - begin;
    }
    return STATUS_OK;
}

static status prefill_prompt(bench_job *j, int tokens)
{
    STATUS_TRY(time_prompts(j, tokens, 1));
    int count = bench_samples_repeats(j->options.seconds, j->samples.seconds[0], LEAST_PROMPTS, MOST_PROMPTS);
    STATUS_TRY(bench_job_share(j, &count));
    return time_prompts(j, tokens, count);
}

status bench_cases_prefill(bench_job *j)
{
    for (int i = 0; i < j->options.prompts.count; i++) {
        bench_speed speed = {.prefill = true, .sequences = j->plan.dp, .tokens = j->options.prompts.values[i], .samples = &j->samples};
        STATUS_TRY(prefill_floor(j, &speed));
        STATUS_TRY(bench_job_agree(j, prefill_prompt(j, speed.tokens)));
        report(j, &speed);
    }
    return STATUS_OK;
}
