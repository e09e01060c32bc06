#include <stdlib.h>

#include "runtime/text/harmony_internal.h"

static status lookup(const tokenizer *t, const char *text, int32_t *id, status_detail *detail)
{
    int32_t found = tokenizer_special(t, text);
    if (found < 0)
        return status_fail(
            detail, STATUS_MODEL,
            "the vocabulary has no special token %s, which the harmony format needs: use the tokenizer.json of gpt-oss",
            text);
    *id = found;
    return STATUS_OK;
}

status harmony_open(const tokenizer *t, harmony **out, status_detail *detail)
{
    harmony found = {.tokens = t, .end_of_text = tokenizer_special(t, "<|endoftext|>")};
    STATUS_TRY(lookup(t, "<|start|>", &found.start, detail));
    STATUS_TRY(lookup(t, "<|end|>", &found.end, detail));
    STATUS_TRY(lookup(t, "<|message|>", &found.message, detail));
    STATUS_TRY(lookup(t, HARMONY_CHANNEL_MARKER, &found.channel, detail));
    STATUS_TRY(lookup(t, HARMONY_CONSTRAIN_MARKER, &found.constrain, detail));
    STATUS_TRY(lookup(t, "<|return|>", &found.final_return, detail));
    STATUS_TRY(lookup(t, "<|call|>", &found.call, detail));

    harmony *h = malloc(sizeof *h);
    if (!h) return status_fail(detail, STATUS_INTERNAL, "out of memory for the harmony encoding");
    *h = found;
    *out = h;
    return STATUS_OK;
}

void harmony_close(harmony *h) { free(h); }

int harmony_stop_ids(const harmony *h, int32_t out[3])
{
    int count = 0;
    out[count++] = h->final_return;
    out[count++] = h->call;
    if (h->end_of_text >= 0) out[count++] = h->end_of_text;
    return count;
}

harmony_system harmony_system_default(void)
{
    static const char *const channels[] = {"analysis", "commentary", "final"};
    return (harmony_system){
        .identity = "You are ChatGPT, a large language model trained by OpenAI.",
        .knowledge_cutoff = "2024-06",
        .has_effort = true,
        .effort = HARMONY_EFFORT_MEDIUM,
        .channels = channels,
        .n_channels = sizeof channels / sizeof channels[0],
    };
}
