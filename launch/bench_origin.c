#include "launch/bench_origin.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launch/job.h"
#include "launch/version.h"

json_t *bench_origin_build(void)
{
    json_t *build = json_object();
    char *text = NULL, *rest = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return build;
    version_print(memory);
    bool whole = fclose(memory) == 0;
    for (char *line = whole ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');
        if (!value) continue;
        *value++ = '\0';
        json_object_set_new(build, line, json_string(value + strspn(value, " ")));
    }
    free(text);
    return build;
}

/* The words of a process's command line. */
static json_t *words_of(pid_t process)
{
    char path[64], word[4096];
    size_t used = 0;
    json_t *words = json_array();
    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)process);
    FILE *file = fopen(path, "r");
    for (int c; file && (c = getc(file)) != EOF;) {
        if (c != '\0') {
            if (used < sizeof word - 1) word[used++] = (char)c;
            continue;
        }
        word[used] = '\0';
        used = 0;
        json_array_append_new(words, json_string(word));
    }
    if (file) fclose(file);
    return words;
}

json_t *bench_origin_run(void)
{
    char host[256] = "", date[32];
    time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:s, s:s, s:i, s:o, s:o}", "date", date, "host", host, "ranks", job_size(), "command", words_of(getpid()), "launcher",
                     job_size() > 1 ? words_of(getppid()) : json_array());
}
