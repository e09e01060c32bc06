/* cmocka wants these before itself. */
#ifndef TESTS_UNIT_CMOCKA_HEADERS_H
#define TESTS_UNIT_CMOCKA_HEADERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
