/* Speed of the tokenizer on one core.
 *
 *   tokenizer_bench TOKENIZER [FILE...]
 *
 * TOKENIZER is what tokenizer_open() takes. Prints, tab separated: "load SECONDS"; for each file "text BYTES TOKENS
 * SECONDS NAME"; and without files the same for 1 MB texts that are one piece or otherwise extreme. SECONDS is the best
 * of several runs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/buffer.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"

enum { EXTREME_SIZE = 1000000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int measure(const tokenizer *t, const buffer *text, const char *name)
{
    id_list ids = {0};
    status_detail detail;
    double best = 1e9, spent = 0;
    for (int run = 0; run < 3 || (run < 200 && spent < 1.0); run++) {
        id_list_clear(&ids);
        double began = now();
        if (tokenizer_encode(t, text->data, text->size, &ids, &detail) != STATUS_OK) {
            fprintf(stderr, "%s: %s\n", name, detail.text);
            return 1;
        }
        double took = now() - began;
        spent += took;
        if (took < best) best = took;
    }
    printf("text\t%zu\t%zu\t%.6f\t%s\n", text->size, ids.count, best, name);
    id_list_free(&ids);
    return 0;
}

static int measure_file(const tokenizer *t, const char *path)
{
    buffer raw = {0}, text = {0};
    char block[65536];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) buffer_append(&raw, block, got);
    fclose(file);
    utf8_repair(raw.data, raw.size, &text);
    int failed = measure(t, &text, path);
    buffer_free(&raw);
    buffer_free(&text);
    return failed;
}

static uint32_t next_random(uint32_t *state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

static int measure_extremes(const tokenizer *t)
{
    static const char *const names[] = {"one letter",    "one capital", "random letters",
                                        "random digits", "spaces",      "one Han character",
                                        "random Han",    "symbols",     "capital E acute"};
    int failed = 0;
    for (size_t kind = 0; kind < sizeof names / sizeof *names; kind++) {
        buffer text = {0};
        uint32_t state = 1;
        while (text.size < EXTREME_SIZE) {
            uint32_t r = next_random(&state);
            uint32_t code = kind == 0   ? 'x'
                            : kind == 1 ? 'X'
                            : kind == 2 ? 'a' + r % 26
                            : kind == 3 ? '0' + r % 10
                            : kind == 4 ? ' '
                            : kind == 5 ? 0x6F22
                            : kind == 6 ? 0x4E00 + r % 0x5000
                            : kind == 7 ? '='
                                        : 0xC9;
            char utf8[3] = {(char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 0x3F)), (char)(0x80 | (code & 0x3F))};
            char two[2] = {(char)(0xC0 | code >> 6), utf8[2]}, one = (char)code;
            buffer_append(&text,
                          code < 0x80    ? &one
                          : code < 0x800 ? two
                                         : utf8,
                          code < 0x80    ? 1
                          : code < 0x800 ? 2
                                         : 3);
        }
        failed |= measure(t, &text, names[kind]);
        buffer_free(&text);
    }
    return failed;
}

int main(int argc, char **argv)
{
    tokenizer *t;
    status_detail detail;
    if (argc < 2) {
        fprintf(stderr, "usage: %s TOKENIZER [FILE...]\n", argv[0]);
        return 2;
    }
    double began = now();
    if (tokenizer_open(argv[1], &t, &detail) != STATUS_OK) {
        fprintf(stderr, "%s\n", detail.text);
        return 4;
    }
    printf("load\t%.3f\n", now() - began);
    int failed = argc > 2 ? 0 : measure_extremes(t);
    for (int i = 2; i < argc; i++) failed |= measure_file(t, argv[i]);
    tokenizer_close(t);
    return failed;
}
