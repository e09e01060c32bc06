#include <math.h>

#include "runtime/model/model_config.h"

/* The pair index at which a wave turns `rotations` times within the original context. */
static double correction_dim(const model_config *c, double rotations)
{
    return c->head_dim * log(c->rope_original_context / (rotations * 2.0 * M_PI)) / (2.0 * log(c->rope_theta));
}

/* Where the ramp between keeping (0) and dividing (1) a frequency begins and ends. */
static void ramp_ends(const model_config *c, double *low, double *high)
{
    *low = correction_dim(c, c->rope_beta_fast);
    *high = correction_dim(c, c->rope_beta_slow);
    if (c->rope_truncate) {
        *low = floor(*low);
        *high = ceil(*high);
    }
    *low = fmax(*low, 0.0);
    *high = fmin(*high, c->head_dim - 1);
    if (*low == *high) *high += 0.001;
}

/* In F32 step by step, as the references do it: at position 1e5 one unit in the last place of a frequency is 0.006 rad,
 * so a more exact frequency would be a different model. */
static float inverse_frequency(const model_config *c, int pair, double low, double high)
{
    float wavelength = powf((float)c->rope_theta, (float)(2 * pair) / (float)c->head_dim);
    float kept = 1.0f / wavelength;
    if (c->rope_factor <= 1.0) return kept;
    float divided = 1.0f / ((float)c->rope_factor * wavelength);
    float ramp = ((float)pair - (float)low) / (float)(high - low);
    float keep = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
    return divided * (1.0f - keep) + kept * keep;
}

void model_config_rope(const model_config *config, int positions, float *cos_out, float *sin_out)
{
    int half = config->head_dim / 2;
    double low = 0.0, high = 1.0, factor = config->rope_attention_factor;
    if (config->rope_factor > 1.0) ramp_ends(config, &low, &high);
    if (factor == 0.0) factor = config->rope_factor > 1.0 ? 0.1 * log(config->rope_factor) + 1.0 : 1.0;

    for (int pair = 0; pair < half; pair++) {
        float frequency = inverse_frequency(config, pair, low, high);
        for (int position = 0; position < positions; position++) {
            float angle = (float)position * frequency;
            cos_out[(int64_t)position * half + pair] = cosf(angle) * (float)factor;
            sin_out[(int64_t)position * half + pair] = sinf(angle) * (float)factor;
        }
    }
}
