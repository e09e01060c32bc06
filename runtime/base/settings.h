/* The configuration of a deployment, typed: what the YAML file, the flags and the defaults together say.
 *
 * Every option is one row of the table in settings_table.c: key, type, default, range, help, destination. The table feeds the YAML reader,
 * the flags, `--set` and `--help`.
 */
#ifndef RUNTIME_BASE_SETTINGS_H
#define RUNTIME_BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/status.h"

/* Stands for "auto" in a number whose value the program chooses. */
#define SETTINGS_AUTO (-1)

typedef enum settings_weights { WEIGHTS_CHECKPOINT, WEIGHTS_DUMMY } settings_weights;
typedef enum settings_attention { ATTENTION_AUTO, ATTENTION_TP, ATTENTION_DP } settings_attention;
typedef enum settings_experts { EXPERTS_AUTO, EXPERTS_TP, EXPERTS_EP } settings_experts;
typedef enum settings_backend { BACKEND_AUTO, BACKEND_CUDA, BACKEND_CPU } settings_backend;
typedef enum settings_log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON } settings_log_format;

typedef struct settings_list {
    char **items;
    int count;
} settings_list;

typedef struct settings {
    struct {
        char *path;               /* required by most verbs; NULL when not given */
        settings_list names;      /* model.name: a string or a list; empty: the last part of path */
        settings_weights weights;
    } model;
    struct {
        settings_attention attention;
        settings_experts experts;
        bool share_gpu;           /* for tests: several ranks on one GPU */
    } parallel;
    struct {
        int64_t max_model_len;       /* tokens, or SETTINGS_AUTO */
        int64_t max_sequences;       /* decoded in one step, per data-parallel group */
        int64_t max_tokens_per_step; /* per data-parallel group */
        int64_t kv_cache;            /* bytes per rank, or SETTINGS_AUTO */
        bool prefix_cache;
        int64_t threads;             /* CPU backend: threads per rank, or SETTINGS_AUTO */
    } engine;
    settings_backend backend;
    struct {
        char *host;
        int64_t port;             /* 0: the system picks one; the URL line tells */
        char *api_keys_file;      /* NULL: none */
        int64_t max_queue;
        int64_t max_body;         /* bytes of a request body */
        int64_t max_responses;    /* bytes of stored responses and their conversations */
        int64_t drain_seconds;
    } server;
    struct {
        int level;                /* log_level */
        settings_log_format format;
    } log;
} settings;

/* Fills in the defaults. Free with settings_free(). */
status settings_init(settings *s, status_detail *detail);
void settings_free(settings *s);

/* Reads a YAML file over `s`. STATUS_USAGE: "FILE:LINE: key section.key: found X, allowed Y", or "FILE: found a FIFO, allowed is a regular
 * file"; never waits for one. */
status settings_read_file(settings *s, const char *path, status_detail *detail);
/* The same from memory; `name` stands for the file in messages. For tests and fuzzers. */
status settings_read_yaml(settings *s, const char *name, const char *data, size_t size, status_detail *detail);

/* One "section.key=value", as `--set` takes it. `origin` ("--port", "--set") stands first in messages. */
status settings_set(settings *s, const char *origin, const char *key, const char *value, status_detail *detail);

/* Takes what it knows out of argv (flags of the table, --set) and moves the rest to the front; *argc becomes the rest's count.
 * "--flag value" and "--flag=value" both work; "--" ends the flags and stays in the rest, as argv[0] does. A list is separated by commas. */
status settings_take_flags(settings *s, int *argc, char **argv, status_detail *detail);

/* The flag of the table (or --set) that is closest to a mistyped one. Never NULL. */
const char *settings_nearest_flag(const char *given);

/* After file and flags: what only shows once all is known (ranges between options, model.names from path). */
status settings_finish(settings *s, status_detail *detail);

/* Prints the options as `--help` shows them: key, flag, type, default, range, help. */
void settings_help(FILE *out);

#endif
