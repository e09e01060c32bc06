/* A rank of three dies under mpirun: all others notice within a second, one speaks, mpirun ends non-zero within five. */
#include "tests/comm/ranks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3 };

typedef struct outcome {
    int status;       /* of mpirun, as waitpid() gives it */
    double ended;     /* when mpirun ended */
    char output[65536]; /* of mpirun and the ranks */
    char record[4096];
} outcome;

static void read_all(int fd, char *to, size_t size)
{
    size_t used = 0;
    for (ssize_t n; used + 1 < size && (n = read(fd, to + used, size - used - 1)) > 0;) used += (size_t)n;
    to[used] = '\0';
}

static void start_mpirun(const char *way, int chosen, const char *record, int output)
{
    char rank[16];
    snprintf(rank, sizeof rank, "%d", chosen);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execl(MPIRUN, MPIRUN, "--oversubscribe", "-np", "3", VICTIM, way, rank, record, (char *)NULL);
    _exit(127);
}

static void run(const char *way, int chosen, outcome *o)
{
    char record[] = "/tmp/gptoss-test-lost-XXXXXX";
    int file = mkstemp(record), pipe_ends[2];
    assert_true(file >= 0);
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipe_ends[0]);
        start_mpirun(way, chosen, record, pipe_ends[1]);
    }
    close(pipe_ends[1]);
    read_all(pipe_ends[0], o->output, sizeof o->output);
    assert_int_equal(waitpid(pid, &o->status, 0), pid);
    o->ended = ranks_now();
    read_all(file, o->record, sizeof o->record);
    close(pipe_ends[0]);
    close(file);
    unlink(record);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

/* `said`: the dead rank printed its own line, so nobody speaks of it. */
static void check_death(const char *way, int dead, bool said)
{
    static outcome o;
    run(way, dead, &o);
    double end = 0, last = 0;
    int seen[RANKS] = {0}, speakers = 0;
    for (char *line = strtok(o.record, "\n"); line; line = strtok(NULL, "\n")) {
        char what[16];
        int rank, number, speaks;
        double when;
        assert_int_equal(sscanf(line, "%15s %d %d %d %lf", what, &rank, &number, &speaks, &when), 5);
        assert_in_range(rank, 0, RANKS - 1);
        assert_int_equal(number, dead);
        if (strcmp(what, "end") == 0) {
            end = when;
        } else {
            seen[rank]++;
            speakers += speaks;
            if (when > last) last = when;
        }
    }
    print_message("%s, rank %d: noticed after %.1f ms, mpirun ended after %.2f s\n", way, dead, (last - end) * 1e3,
                  o.ended - end);
    for (int r = 0; r < RANKS; r++) assert_int_equal(seen[r], r != dead);
    assert_int_equal(speakers, !said);
    bool one_line = count(o.output, "was lost\n") == !said && count(o.output, "the victim failed\n") == said;
    if (!one_line) fail_msg("not one line of ours in:\n%s", o.output);
    assert_true(end > 0 && last - end < 1);
    assert_true(o.ended - end < 5);
    assert_true(!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0);
}

/* Ranks 1 and 2 have the same part in a death; the long run takes both each time, others in the middle of all-reduces only. */
static int next_rank(int r) { return getenv("GPTOSS_LONG") ? r + 1 : r + 2; }

static void killed_while_parked(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS; r = next_rank(r)) check_death("parked", r, false);
}

static void killed_while_the_others_wait_in_a_barrier(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS; r = next_rank(r)) check_death("barrier", r, false);
}

static void killed_in_the_middle_of_all_reduces(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS; r++) check_death("all-reduce", r, false);
}

static void an_exit_without_goodbye_is_a_death(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS; r = next_rank(r)) check_death("exit", r, false);
}

static void a_rank_that_failed_and_said_so_is_not_told_of_again(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS; r = next_rank(r)) check_death("failed", r, true);
}

static void orderly_exits_at_different_times_are_not(void **state)
{
    (void)state;
    static outcome o;
    for (int r = 0; r < RANKS; r++) {
        run("orderly", r, &o);
        if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0) fail_msg("status %d:\n%s", o.status, o.output);
        assert_string_equal(o.record, "");
        assert_string_equal(o.output, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_while_parked),
        cmocka_unit_test(killed_while_the_others_wait_in_a_barrier),
        cmocka_unit_test(killed_in_the_middle_of_all_reduces),
        cmocka_unit_test(an_exit_without_goodbye_is_a_death),
        cmocka_unit_test(a_rank_that_failed_and_said_so_is_not_told_of_again),
        cmocka_unit_test(orderly_exits_at_different_times_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
