/* gptoss-tp synth: a checkpoint with random weights. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/arguments.h"
#include "launch/progress.h"
#include "launch/verb.h"
#include "launch/vocabulary.h"
#include "runtime/model/synth.h"
#include "runtime/text/tokenizer_write.h"

typedef struct synth_state {
    const char *vocabulary;
    progress progress;
} synth_state;

/* The model layer says which tokens, the text layer knows how they are written. */
static status write_tokenizer(void *user, const char *path, int n_ordinary, const synth_special *specials, int n_specials,
                              status_detail *detail)
{
    const synth_state *state = user;
    tokenizer_write_special *copies = calloc((size_t)n_specials + 1, sizeof *copies);
    if (!copies) return status_fail(detail, STATUS_MACHINE, "out of memory");
    for (int i = 0; i < n_specials; i++) copies[i] = (tokenizer_write_special){specials[i].text, specials[i].id};
    status result = tokenizer_write_json(state->vocabulary, n_ordinary, copies, (size_t)n_specials, path, detail);
    free(copies);
    return result;
}

static void show(void *user, int64_t done, int64_t total)
{
    synth_state *state = user;
    progress_show(&state->progress, done, total);
}

static status synth_run(int argc, char **argv, verb_failure *failure)
{
    status_detail *detail = &failure->detail;
    const char *dir = NULL, *like = NULL, *vocabulary = NULL;
    char found[PATH_MAX];
    int64_t seed = 0;
    const argument own[] = {
        {.flag = "--like", .type = ARGUMENT_TEXT, .to = &like},
        {.flag = "--seed", .type = ARGUMENT_INT, .to = &seed, .least = 0, .most = INT64_MAX},
        {.flag = "--vocabulary", .type = ARGUMENT_TEXT, .to = &vocabulary},
    };
    arguments a = {.flags = own, .n_flags = sizeof own / sizeof *own, .positional_name = "DIR", .positional = &dir};
    STATUS_TRY(arguments_parse(&a, argc, argv, detail));
    if (!dir) return status_fail(detail, STATUS_USAGE, "DIR is missing: gptoss-tp synth models/tiny --like tiny");
    if (!like) return status_fail(detail, STATUS_USAGE, "--like is missing: tiny, 20b or 120b");
    if (!vocabulary) {
        STATUS_TRY(vocabulary_find(found, sizeof found, detail));
        vocabulary = found;
    }
    synth_state state = {.vocabulary = vocabulary, .progress = {.what = dir}};
    synth_options options = {.dir = dir,
                             .like = like,
                             .seed = (uint64_t)seed,
                             .vocabulary = vocabulary,
                             .write_tokenizer = write_tokenizer,
                             .progress = show,
                             .user = &state};
    return synth_write(&options, detail);
}

const verb verb_synth = {
    .name = "synth",
    .synopsis = "DIR --like tiny|20b|120b [--seed S] [--vocabulary FILE]",
    .summary = "writes a checkpoint in the Hugging Face layout with random weights, for tests and benchmarks",
    .flags = "  --like SHAPE         tiny (a few MB, reduced vocabulary), 20b or 120b\n"
             "  --seed S             equal seeds give equal files; default 0\n"
             "  --vocabulary FILE    the o200k_base.tiktoken to take tokens from; default: the one that comes with the program\n",
    .alone = true,
    .run = synth_run,
};
