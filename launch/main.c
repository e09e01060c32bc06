/* gptoss-tp: finds the verb, runs it, says what went wrong, and is alone in leaving the process. */
#include "launch/main.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/job.h"
#include "launch/verb.h"
#include "launch/version.h"
#include "runtime/base/log.h"
#include "runtime/base/nearest.h"
#include "runtime/base/settings.h"

static const verb *const verbs[] = {&verb_serve, &verb_batch, &verb_plan, &verb_synth, &verb_fetch, &verb_bench, &verb_doctor, &verb_chat};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

_Noreturn void main_leave(int code) { _exit(code); }

static void print_help(FILE *out)
{
    fprintf(out, "gptoss-tp runs gpt-oss models over MPI ranks and answers an OpenAI-compatible API.\n\n");
    for (int i = 0; i < N_VERBS; i++)
        fprintf(out, "  gptoss-tp %s %s\n      %s\n", verbs[i]->name, verbs[i]->synopsis, verbs[i]->summary);
    fprintf(out, "  gptoss-tp --version\n      what this build holds\n\n"
                 "serve is the verb when none is named: mpirun -np 4 gptoss-tp configs/120b.yaml\n"
                 "gptoss-tp VERB --help tells more.\n\n");
    fprintf(out, "Options of the configuration file: key, default, flag. Any of them: --set section.key=value\n");
    settings_help(out);
}

static void print_verb_help(FILE *out, const verb *v)
{
    fprintf(out, "gptoss-tp %s %s\n\n  %s\n", v->name, v->synopsis, v->summary);
    if (v->flags) fprintf(out, "\n%s", v->flags);
    if (!v->configured) return;
    fprintf(out, "\nOptions of the configuration file: key, default, flag. Any of them: --set section.key=value\n");
    settings_help(out);
}

static const verb *find_verb(const char *name)
{
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0) return verbs[i];
    return NULL;
}

/* A first word that is no verb is a configuration file, and then the verb is serve, if it exists or looks like a path. */
static bool is_file(const char *word)
{
    struct stat info;
    return strpbrk(word, "/.") || (stat(word, &info) == 0 && S_ISREG(info.st_mode));
}

static status refuse_word(const char *word, status_detail *detail)
{
    const char *best = verbs[0]->name;
    for (int i = 1; i < N_VERBS; i++)
        if (nearest_distance(word, verbs[i]->name) < nearest_distance(word, best)) best = verbs[i]->name;
    bool meant = nearest_plausible(word, nearest_distance(word, best));
    return status_fail(detail, STATUS_USAGE, "'%.64s' is neither a verb nor a configuration file%s%s%s", word,
                       meant ? "; did you mean " : "; gptoss-tp --help lists the verbs", meant ? best : "", meant ? "?" : "");
}

static bool asks_for(int argc, char **argv, const char *flag, const char *short_flag)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], flag) == 0 || strcmp(argv[i], short_flag) == 0) return true;
    return false;
}

static status run(int argc, char **argv, verb_failure *failure)
{
    job_unbind();
    const char *word = argc > 1 ? argv[1] : "--help";
    const verb *v = find_verb(word);
    if (!v) {
        if (argc == 1 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            if (job_rank() == 0) print_help(argc > 1 ? stdout : stderr);
            return argc > 1 ? STATUS_OK
                            : status_fail(&failure->detail, STATUS_USAGE, "a configuration is missing, such as gptoss-tp configs/120b.yaml");
        }
        if (strcmp(word, "--version") == 0) {
            if (job_rank() == 0) version_print(stdout);
            return STATUS_OK;
        }
        if (word[0] != '-' && !is_file(word)) return refuse_word(word, &failure->detail);
        v = &verb_serve; /* and argv[0], the program's name, stands for the verb's */
    } else {
        argc--;
        argv++;
    }
    if (asks_for(argc, argv, "--help", "-h")) {
        if (job_rank() == 0) print_verb_help(stdout, v);
        return STATUS_OK;
    }
    if (v->alone && job_size() > 1)
        return status_fail(&failure->detail, STATUS_USAGE, "%s runs alone, and this is a job of %d ranks: start it without mpirun or srun",
                           v->name, job_size());
    return v->run(argc, argv, failure);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a client that hangs up is an error of one write, not the end of the server */
    verb_failure failure = {.speaks = job_rank() == 0};
    status result = run(argc, argv, &failure);
    if (result != STATUS_OK && failure.speaks) log_error("%s", failure.detail.text);
    return status_exit_code(result);
}
