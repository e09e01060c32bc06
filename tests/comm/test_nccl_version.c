/* An NCCL that does not fit the one this program was built for is told, with both versions and what to do. Runs with fake_nccl.c before the real one. */
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/cuda/nccl_link.h"
#include "tests/unit/cmocka_headers.h"

static status check(int version, status_detail *detail)
{
    char text[16];
    snprintf(text, sizeof text, "%d", version);
    setenv("FAKE_NCCL", text, 1);
    return nccl_link_check(detail);
}

static void the_one_it_was_built_for(void **state)
{
    (void)state;
    status_detail detail = {""};
    assert_int_equal(check(NCCL_VERSION_CODE, &detail), STATUS_OK);
    assert_int_equal(check(NCCL_VERSION_CODE + 100, &detail), STATUS_OK); /* a newer one of the same major version */
}

static void refused(int version, const char *loaded)
{
    status_detail detail = {""};
    char built[64];
    snprintf(built, sizeof built, "was built for %d.%d.%d;", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH);
    assert_int_equal(check(version, &detail), STATUS_MACHINE);
    assert_non_null(strstr(detail.text, loaded));
    assert_non_null(strstr(detail.text, built));
    assert_non_null(strstr(detail.text, "LD_LIBRARY_PATH"));
    assert_null(strchr(detail.text, '\n'));
}

static void older_or_of_another_kind(void **state)
{
    (void)state;
    refused(21005, "NCCL 2.10.5 is loaded");
    refused(30100, "NCCL 3.1.0 is loaded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_one_it_was_built_for), cmocka_unit_test(older_or_of_another_kind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
