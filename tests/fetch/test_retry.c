/* What to do after a bad answer. */
#include "runtime/fetch/retry.h"
#include "tests/unit/cmocka_headers.h"

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        int http_status;
        retry_verdict from_hub, from_elsewhere;
    } cases[] = {
        {0, RETRY_LATER, RETRY_LATER},   {200, RETRY_LATER, RETRY_LATER},   {206, RETRY_LATER, RETRY_LATER},   {302, RETRY_NEVER, RETRY_NEVER},
        {400, RETRY_NEVER, RETRY_NEVER}, {401, RETRY_NEVER, RETRY_RESOLVE}, {403, RETRY_NEVER, RETRY_RESOLVE}, {404, RETRY_NEVER, RETRY_RESOLVE},
        {408, RETRY_LATER, RETRY_LATER}, {410, RETRY_NEVER, RETRY_RESOLVE}, {416, RETRY_NEVER, RETRY_NEVER},   {429, RETRY_PAUSE, RETRY_PAUSE},
        {500, RETRY_LATER, RETRY_LATER}, {502, RETRY_LATER, RETRY_LATER},   {503, RETRY_PAUSE, RETRY_PAUSE},   {504, RETRY_LATER, RETRY_LATER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(retry_judge(cases[i].http_status, false), cases[i].from_hub);
        assert_int_equal(retry_judge(cases[i].http_status, true), cases[i].from_elsewhere);
    }
}

static void delays(void **state)
{
    (void)state;
    uint64_t random = 20260101;
    double least = 1e9, most = 0;
    for (int attempt = 1; attempt <= 40; attempt++) {
        double middle = attempt > 7 ? 30 : 0.25 * (1 << (attempt - 1));
        for (int i = 0; i < 50; i++) {
            double delay = retry_delay(attempt, 0, &random);
            assert_true(delay >= 0.75 * middle && delay <= 1.25 * middle);
            least = delay / middle < least ? delay / middle : least;
            most = delay / middle > most ? delay / middle : most;
        }
    }
    assert_true(least < 0.8 && most > 1.2); /* spread, not all the same */
    assert_true(retry_delay(1, 17, &random) == 17);
    assert_true(retry_delay(1, 1e9, &random) == 600);
    assert_true(retry_delay(20, 1, &random) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts), cmocka_unit_test(delays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
