/* Flags of a verb and the launcher's environment. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "launch/arguments.h"
#include "launch/job.h"
#include "tests/unit/cmocka_headers.h"

typedef struct found {
    int64_t ranks, memory;
    const char *name, *dir;
    bool quick;
} found;

static status_detail detail;

static status parse(found *f, int argc, char **argv)
{
    const argument own[] = {
        {.flag = "--ranks", .type = ARGUMENT_INT, .to = &f->ranks, .least = 1, .most = 64},
        {.flag = "--memory", .type = ARGUMENT_BYTES, .to = &f->memory},
        {.flag = "--name", .type = ARGUMENT_TEXT, .to = &f->name},
        {.flag = "--quick", .type = ARGUMENT_SWITCH, .to = &f->quick},
    };
    arguments a = {.flags = own, .n_flags = 4, .positional_name = "DIR", .positional = &f->dir, .settings_flags = true};
    return arguments_parse(&a, argc, argv, &detail);
}

static void test_flags_and_one_word(void **state)
{
    (void)state;
    found f = {0};
    assert_int_equal(parse(&f, 7, (char *[]){"v", "--ranks=4", "here", "--memory", "80GiB", "--name", "--odd"}), STATUS_OK);
    assert_int_equal(f.ranks, 4);
    assert_int_equal(f.memory, INT64_C(80) << 30);
    assert_string_equal(f.dir, "here");
    assert_string_equal(f.name, "--odd");
    assert_false(f.quick);
    f = (found){0};
    assert_int_equal(parse(&f, 3, (char *[]){"v", "--quick", "here"}), STATUS_OK);
    assert_true(f.quick);
    assert_string_equal(f.dir, "here");
    f = (found){0};
    assert_int_equal(parse(&f, 3, (char *[]){"v", "--", "--ranks"}), STATUS_OK);
    assert_string_equal(f.dir, "--ranks");
    assert_int_equal(parse(&f, 2, (char *[]){"v", "-"}), STATUS_OK);
    assert_string_equal(f.dir, "-");
}

static void test_wrong_flags(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *part;
    } cases[] = {
        {{"--ranks", "0"}, "--ranks: found '0', allowed is an integer from 1 to 64"},
        {{"--ranks", "65"}, "found '65'"},
        {{"--ranks", "4x"}, "found '4x'"},
        {{"--ranks="}, "found ''"},
        {{"--ranks", "99999999999999999999"}, "found '99999999999999999999'"},
        {{"--ranks"}, "--ranks needs a value"},
        {{"--memory", "80G"}, "--memory: found '80G', allowed is an amount"},
        {{"--quick=yes"}, "--quick takes no value, found --quick=yes"},
        {{"--name="}, "--name: found nothing"},
        {{"--rank", "4"}, "unknown flag --rank; did you mean --ranks?"},
        {{"--prot", "4"}, "unknown flag --prot; did you mean --port?"},
        {{"--quite-another"}, "unknown flag --quite-another; --help lists them"},
        {{"a", "b"}, "found 'b' after 'a', allowed is one DIR"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        found f = {0};
        char *argv[4] = {"v"};
        int argc = 1;
        for (int k = 0; k < 3 && cases[i].words[k]; k++) argv[argc++] = (char *)cases[i].words[k];
        assert_int_equal(parse(&f, argc, argv), STATUS_USAGE);
        if (!strstr(detail.text, cases[i].part)) fail_msg("\"%s\" lacks \"%s\"", detail.text, cases[i].part);
    }
}

static void clear_environment(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",       "PMI_RANK",
                                        "PMI_SIZE",             "SLURM_PROCID",         "SLURM_NTASKS",    "SLURM_STEP_NUM_TASKS",
                                        "OMP_NUM_THREADS",      "OMPI_MCA_orte_bound_at_launch", "OMPI_MCA_hwloc_base_binding_policy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}

static void test_job_from_the_environment(void **state)
{
    (void)state;
    clear_environment();
    assert_int_equal(job_rank(), 0);
    assert_int_equal(job_size(), 1);
    setenv("OMPI_COMM_WORLD_RANK", "3", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    assert_int_equal(job_rank(), 3);
    assert_int_equal(job_size(), 4);
    clear_environment();
    setenv("SLURM_PROCID", "0", 1); /* the script of a batch job of 8 tasks starts us itself: we are alone */
    setenv("SLURM_NTASKS", "8", 1);
    assert_int_equal(job_size(), 1);
    setenv("SLURM_STEP_NUM_TASKS", "8", 1); /* srun starts us */
    assert_int_equal(job_size(), 8);
    clear_environment();
    setenv("PMI_SIZE", "many", 1); /* nonsense is nothing */
    assert_int_equal(job_size(), 1);
    clear_environment();
}

static void test_threads(void **state)
{
    (void)state;
    clear_environment();
    int all = job_threads(1);
    assert_true(all >= 1);
    assert_int_equal(job_threads(INT_MAX), 1);
    assert_int_equal(job_threads(2), all > 2 ? all / 2 : 1);
    setenv("OMPI_MCA_orte_bound_at_launch", "1", 1); /* mpirun's default: job_unbind() takes it back, and the host is shared */
    assert_int_equal(job_threads(2), all > 2 ? all / 2 : 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "core", 1); /* asked for: what we may run on is ours alone */
    assert_int_equal(job_threads(2), all);
    setenv("OMP_NUM_THREADS", "5", 1);
    assert_int_equal(job_threads(2), 5);
    clear_environment();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_one_word),
        cmocka_unit_test(test_wrong_flags),
        cmocka_unit_test(test_job_from_the_environment),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
