/* write_tokenizer_json VOCABULARY.tiktoken N_ORDINARY OUT.json: a tokenizer.json with o200k_harmony's named special
 * tokens right after the ordinary ones, at their usual distances. For tests/data/check_tokenizer_json.py. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/text/tokenizer_write.h"

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s VOCABULARY.tiktoken N_ORDINARY OUT.json\n", argv[0]);
        return 2;
    }
    int32_t n = (int32_t)atoi(argv[2]);
    const tokenizer_write_special specials[] = {
        {"<|startoftext|>", n}, {"<|endoftext|>", n + 1},    {"<|return|>", n + 4}, {"<|constrain|>", n + 5},
        {"<|channel|>", n + 7}, {"<|start|>", n + 8},        {"<|end|>", n + 9},    {"<|message|>", n + 10},
        {"<|call|>", n + 14},   {"<|endofprompt|>", n + 20},
    };
    status_detail detail;
    status result = tokenizer_write_json(argv[1], n, specials, sizeof specials / sizeof *specials, argv[3], &detail);
    if (result != STATUS_OK) fprintf(stderr, "%s\n", detail.text);
    return status_exit_code(result);
}
