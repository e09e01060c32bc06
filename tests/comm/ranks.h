/* What the tests of comm share: a world as cmocka's group state, a clock, random numbers. */
#ifndef TESTS_COMM_RANKS_H
#define TESTS_COMM_RANKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comm/comm.h"

/* Group set-up and tear-down; *state is the world. A rank whose assertion fails aborts, because the others wait for it; a
 * test that hangs is killed after two minutes. */
int ranks_setup(void **state);
int ranks_teardown(void **state);

double ranks_now(void);          /* seconds, the same clock for all processes of a host */
void ranks_sleep(double seconds); /* the whole time, signals or not */

/* Splitmix64 (Steele, Lea, Flood 2014); below(n) is uniform enough for n far under 2^32. */
uint64_t ranks_random(uint64_t *seed);
int ranks_below(uint64_t *seed, int n);

/* Asserts STATUS_OK and shows the detail if not. */
void ranks_assert_ok(status code, const status_detail *detail);

#endif
