/* What the environment says, the defaults that follow, and a world of one that leaves MPI alone. */
#include "tests/comm/ranks.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launcher.h"

static char *bare(const char *name) { return (void)name, NULL; }

static char *mpirun(const char *name)
{
    if (!strcmp(name, "OMPI_COMM_WORLD_SIZE")) return "8";
    if (!strcmp(name, "OMPI_COMM_WORLD_LOCAL_SIZE")) return "4";
    return NULL;
}

static char *srun(const char *name)
{
    if (!strcmp(name, "SLURM_PROCID")) return "3";
    if (!strcmp(name, "SLURM_STEP_NUM_TASKS")) return "6";
    if (!strcmp(name, "SLURM_STEP_TASKS_PER_NODE")) return "3(x2)";
    return NULL;
}

static char *sbatch_script(const char *name) { return strcmp(name, "SLURM_PROCID") ? NULL : "0"; }

static char *hydra(const char *name)
{
    if (!strcmp(name, "PMI_RANK")) return "0";
    if (!strcmp(name, "PMI_SIZE")) return "2";
    if (!strcmp(name, "MPI_LOCALNRANKS")) return "2";
    return NULL;
}

static char *nonsense(const char *name)
{
    if (!strcmp(name, "OMPI_COMM_WORLD_SIZE")) return "many";
    if (!strcmp(name, "OMPI_COMM_WORLD_LOCAL_SIZE")) return "-99999999999999999999";
    return NULL;
}

static void launchers_are_recognised(void **state)
{
    (void)state;
    static const struct {
        launcher_lookup environment;
        launcher wanted;
    } cases[] = {
        {bare, {false, 0, 0}},          {mpirun, {true, 8, 4}}, {srun, {true, 6, 3}},
        {sbatch_script, {false, 0, 0}}, {hydra, {true, 2, 2}},  {nonsense, {true, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        launcher l = launcher_read(cases[i].environment);
        assert_int_equal(l.present, cases[i].wanted.present);
        assert_int_equal(l.size, cases[i].wanted.size);
        assert_int_equal(l.local_size, cases[i].wanted.local_size);
    }
}

static const char *chosen(launcher l, long cores, bool cross_memory, const char *name)
{
    launcher_default defaults[LAUNCHER_DEFAULTS];
    int n = launcher_choose(&l, cores, cross_memory, defaults);
    assert_in_range(n, 0, LAUNCHER_DEFAULTS);
    for (int i = 0; i < n; i++)
        if (!strcmp(defaults[i].name, name)) return defaults[i].value;
    return "";
}

static void waiting_yields_only_when_cores_are_short(void **state)
{
    (void)state;
    assert_string_equal(chosen((launcher){true, 4, 4}, 2, true, "OMPI_MCA_mpi_yield_when_idle"), "1");
    assert_string_equal(chosen((launcher){true, 4, 4}, 4, true, "OMPI_MCA_mpi_yield_when_idle"), "");
    assert_string_equal(chosen((launcher){true, 8, 2}, 2, true, "OMPI_MCA_mpi_yield_when_idle"), "");
}

static void networks_are_narrowed_on_one_host_only(void **state)
{
    (void)state;
    assert_string_equal(chosen((launcher){true, 4, 4}, 8, true, "OMPI_MCA_pml"), "ob1");
    assert_string_equal(chosen((launcher){true, 8, 4}, 8, true, "OMPI_MCA_pml"), "");
    assert_string_equal(chosen((launcher){true, 0, 0}, 8, true, "OMPI_MCA_pml"), "");
}

static void single_copy_is_off_where_the_sandbox_forbids_it(void **state)
{
    (void)state;
    const char *name = "OMPI_MCA_btl_vader_single_copy_mechanism";
    assert_string_equal(chosen((launcher){true, 4, 4}, 2, false, name), "none");
    assert_string_equal(chosen((launcher){true, 4, 4}, 2, true, name), "");
}

static void the_users_settings_stay(void **state)
{
    (void)state;
    launcher l = {true, 1 << 20, 1 << 20};
    setenv("OMPI_MCA_pml", "ucx", 1);
    unsetenv("OMPI_MCA_mpi_yield_when_idle");
    launcher_prepare(&l);
    assert_string_equal(getenv("OMPI_MCA_pml"), "ucx");
    assert_string_equal(getenv("OMPI_MCA_mpi_yield_when_idle"), "1");
}

static void lost(void *user, int rank, bool speaks)
{
    (void)user, (void)rank, (void)speaks;
    abort();
}

static void nothing(void *user, int rank) { (void)user, (void)rank; }

static void a_world_of_one_never_starts_mpi(void **state)
{
    (void)state;
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
    for (int i = 0; i < 4; i++) unsetenv(names[i]);
    status_detail detail;
    world *w;
    for (int again = 0; again < 2; again++) {
        ranks_assert_ok(world_open(lost, NULL, &w, &detail), &detail);
        assert_int_equal(world_size(w), 1);
        assert_int_equal(world_local_size(w), 1);
        int64_t value = 42, gathered = 0;
        ranks_assert_ok(world_broadcast(w, &value, sizeof value, &detail), &detail);
        ranks_assert_ok(world_gather(w, &value, sizeof value, &gathered, &detail), &detail);
        ranks_assert_ok(world_min_i64(w, &value, &detail), &detail);
        assert_true(value == 42 && gathered == 42);
        world_barrier(w);
        world_wake(w);
        world_park(w);
        world_signal_zero(w);
        world_on_signal(w, nothing, NULL);
        comm *c = NULL;
        comm_options options = {.transport = "mpi", .host_memory = true};
        assert_int_equal(comm_open(w, 0, &options, &c, &detail), STATUS_USAGE);
        assert_non_null(strstr(detail.text, "start with mpirun"));
        options.transport = "auto";
        ranks_assert_ok(comm_open(w, 0, &options, &c, &detail), &detail);
        assert_string_equal(comm_transport(c), "self");
        comm_close(c);
        world_close(w);
    }
    int initialised = 1;
    MPI_Initialized(&initialised);
    assert_false(initialised);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launchers_are_recognised),
        cmocka_unit_test(waiting_yields_only_when_cores_are_short),
        cmocka_unit_test(networks_are_narrowed_on_one_host_only),
        cmocka_unit_test(single_copy_is_off_where_the_sandbox_forbids_it),
        cmocka_unit_test(the_users_settings_stay),
        cmocka_unit_test(a_world_of_one_never_starts_mpi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
