#include "tests/model/golden.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model/safetensors.h"

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    uint8_t *bytes = length > 0 ? malloc((size_t)length) : NULL;
    if (bytes && fread(bytes, 1, (size_t)length, file) != (size_t)length) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    *size = (size_t)length;
    return bytes;
}

/* The tensor prompt.INDEX.PART with `columns` per row (1: a vector); its rows in *rows. */
static const void *find(const safetensors *s, int index, const char *part, int columns, int *rows)
{
    char name[64];
    snprintf(name, sizeof name, "prompt.%d.%s", index, part);
    const safetensors_entry *entry = safetensors_find(s, name);
    if (!entry || (columns > 1 && (entry->n_dims != 2 || entry->shape[1] != columns)) || (columns == 1 && entry->n_dims != 1)) return NULL;
    *rows = (int)entry->shape[0];
    return entry->data;
}

static const char *whole_name(int index, char name[64])
{
    snprintf(name, 64, "prompt.%d.whole", index);
    return name;
}

static bool read_prompt(const safetensors *s, int index, golden_prompt *p)
{
    int targets = 0, logprobs = 0, gaps = 0;
    p->ids = find(s, index, "ids", 1, &p->n);
    p->positions = find(s, index, "positions", 1, &p->n_positions);
    p->targets = find(s, index, "targets", GOLDEN_TARGETS, &targets);
    p->logprobs = find(s, index, "logprobs", GOLDEN_TARGETS, &logprobs);
    p->greedy = find(s, index, "greedy", 1, &p->n_greedy);
    p->gaps = find(s, index, "gaps", 1, &gaps);
    const safetensors_entry *whole = safetensors_find(s, whole_name(index, (char[64]){""}));
    if (whole && whole->n_dims == 2 && whole->shape[0] == p->n_positions) {
        p->whole = (const void *)whole->data;
        p->vocab = (int)whole->shape[1];
    }
    return p->ids && p->positions && p->targets && p->logprobs && p->greedy && p->gaps && targets == p->n_positions &&
           logprobs == p->n_positions && gaps == p->n_greedy && p->n_greedy == GOLDEN_GREEDY;
}

/* golden.json beside the tensors. */
static bool read_yardstick(golden *g)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/golden.json", g->dir);
    json_t *root = json_load_file(path, 0, NULL), *prompts = json_object_get(root, "prompts");
    bool complete = (int)json_array_size(prompts) == g->n_prompts;
    for (int i = 0; i < g->n_prompts && complete; i++) {
        const json_t *figure = json_object_get(json_array_get(prompts, (size_t)i), "hf_bf16_mean_abs");
        complete = json_is_real(figure);
        g->prompts[i].bf16_error = json_real_value(figure);
    }
    json_decref(root);
    return complete;
}

bool golden_open(const char *name, golden *out)
{
    const char *root = getenv("GPTOSS_TESTS_DIR");
    char path[1200];
    size_t size = 0;
    golden g = {0};
    snprintf(g.name, sizeof g.name, "%s", name);
    snprintf(g.dir, sizeof g.dir, "%s/data/goldens/%s", root ? root : "tests", name);
    snprintf(path, sizeof path, "%s/golden.safetensors", g.dir);
    g.bytes = read_file(path, &size);
    safetensors s;
    if (!g.bytes || safetensors_parse(g.bytes, size, path, &s, NULL) != STATUS_OK) {
        free(g.bytes);
        return false;
    }
    while (g.n_prompts < GOLDEN_MAX_PROMPTS && read_prompt(&s, g.n_prompts, &g.prompts[g.n_prompts])) g.n_prompts++;
    safetensors_free(&s);
    if (g.n_prompts == 0 || !read_yardstick(&g)) {
        free(g.bytes);
        return false;
    }
    *out = g;
    return true;
}

void golden_close(golden *g) { free(g->bytes); }
