/* Block pools and the prefix cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/engine/kv_cache.h"
#include "tests/engine/test_random.h"

enum { BLOCK = 4, TOKENS = 96, BLOCKS = TOKENS / BLOCK };

/* A chain of ids with its hashes and a holding. */
typedef struct chain {
    int32_t ids[TOKENS];
    kv_hash hashes[BLOCKS];
    int32_t tables[OPS_KV_KINDS][BLOCKS];
    kv_holding held;
} chain;

static const kv_hash KEY = {0x1234567, 0x89abcdef};

static void chain_init(chain *c, uint64_t seed)
{
    test_random random = {seed};
    for (int i = 0; i < TOKENS; i++) c->ids[i] = test_random_range(&random, 0, 200000);
    for (int i = 0; i < BLOCKS; i++)
        c->hashes[i] = kv_hash_block(KEY, i ? c->hashes[i - 1] : (kv_hash){0, 0}, c->ids + i * BLOCK, BLOCK);
    c->held = (kv_holding){.table = {c->tables[0], c->tables[1]}};
}

static kv_cache *open_cache(int full, int sliding, int window, bool prefix)
{
    kv_cache *cache;
    kv_shape shape = {.block_tokens = BLOCK, .window = window, .blocks = {full, sliding}, .prefix_cache = prefix};
    assert_int_equal(kv_cache_open(&shape, &cache, NULL), STATUS_OK);
    return cache;
}

static void publish(kv_cache *cache, chain *c, int tokens) { kv_cache_publish(cache, &c->held, c->ids, c->hashes, tokens); }

static kv_match find(const kv_cache *cache, const chain *c, int tokens) { return kv_cache_find(cache, c->ids, c->hashes, tokens); }

static void blocks_are_taken_and_given_back(void **state)
{
    (void)state;
    chain a;
    chain_init(&a, 1);
    kv_cache *cache = open_cache(10, 6, 9, true);
    assert_int_equal(kv_cache_room(cache, &a.held), 6 * BLOCK); /* the smaller pool limits */
    kv_cache_extend(cache, &a.held, 9);
    assert_int_equal(a.held.count, 3);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_FULL), 7);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_SLIDING), 3);
    kv_cache_extend(cache, &a.held, 12); /* covered already */
    assert_int_equal(a.held.count, 3);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++)
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < i; k++) assert_int_not_equal(a.held.table[kind][i], a.held.table[kind][k]);
    kv_cache_release(cache, &a.held);
    assert_int_equal(a.held.count, 0);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_FULL), 10);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_SLIDING), 6);
    kv_cache_close(cache);
}

static void only_what_no_later_query_sees_is_dropped(void **state)
{
    (void)state;
    chain a;
    chain_init(&a, 2);
    kv_cache *cache = open_cache(24, 24, 9, false);
    kv_cache_extend(cache, &a.held, 40);
    kv_cache_drop_behind(cache, &a.held, 8); /* sees 0..8 */
    assert_int_equal(a.held.sliding_first, 0);
    kv_cache_drop_behind(cache, &a.held, 11); /* sees 3..11 */
    assert_int_equal(a.held.sliding_first, 0);
    kv_cache_drop_behind(cache, &a.held, 12); /* sees 4..12: block 0 is behind */
    assert_int_equal(a.held.sliding_first, 1);
    assert_int_equal(a.held.table[OPS_SLIDING][0], -1);
    assert_true(a.held.table[OPS_SLIDING][1] >= 0);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_SLIDING), 24 - 9);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_FULL), 24 - 10);
    kv_cache_release(cache, &a.held);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_SLIDING), 24);
    kv_cache_close(cache);
}

static void a_prefix_is_found_after_its_holder_left(void **state)
{
    (void)state;
    chain a, b;
    chain_init(&a, 3);
    b = a;
    b.held = (kv_holding){.table = {b.tables[0], b.tables[1]}};
    b.ids[30] ^= 1; /* differs in block 7 */
    for (int i = 7; i < BLOCKS; i++) b.hashes[i] = kv_hash_block(KEY, b.hashes[i - 1], b.ids + i * BLOCK, BLOCK);
    kv_cache *cache = open_cache(24, 24, 9, true);
    kv_cache_extend(cache, &a.held, 40);
    publish(cache, &a, 39); /* the tenth block is not full */
    assert_int_equal(find(cache, &a, 40).tokens, 36);
    assert_int_equal(find(cache, &a, 35).tokens, 32); /* as the caller limits it */
    kv_match shared = find(cache, &b, 40);
    assert_int_equal(shared.tokens, 28);
    assert_int_equal(shared.idle[OPS_FULL], 0);
    kv_cache_release(cache, &a.held);
    assert_int_equal(find(cache, &b, 40).idle[OPS_FULL], 7);

    kv_cache_attach(cache, &b.held, b.ids, b.hashes, 28);
    assert_int_equal(b.held.count, 7);
    assert_int_equal(b.held.sliding_first, 5); /* a query at 28 sees 20.. */
    assert_int_equal(b.held.table[OPS_SLIDING][4], -1);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_FULL), 24 - 7);
    assert_int_equal(kv_cache_free_blocks(cache, OPS_SLIDING), 24 - 2);
    assert_memory_equal(b.tables[OPS_FULL], a.tables[OPS_FULL], 7 * sizeof(int32_t));
    kv_cache_release(cache, &b.held);
    kv_cache_close(cache);
}

static void a_prefix_needs_its_window_of_sliding_blocks(void **state)
{
    (void)state;
    chain a, b;
    chain_init(&a, 4);
    chain_init(&b, 5);
    kv_cache *cache = open_cache(40, 12, 9, true);
    kv_cache_extend(cache, &a.held, 40);
    publish(cache, &a, 40);
    kv_cache_drop_behind(cache, &a.held, 40); /* keeps blocks 8 and 9 */
    assert_int_equal(find(cache, &a, 39).tokens, 36); /* given back, yet findable: 7 and 8 */
    kv_cache_extend(cache, &b.held, 40); /* takes the 10 free sliding blocks, those given back among them */
    assert_int_equal(find(cache, &a, 40).tokens, 40);
    assert_int_equal(find(cache, &a, 39).tokens, 0); /* block 7 is gone, and all before */
    kv_cache_release(cache, &a.held);
    kv_cache_release(cache, &b.held);
    kv_cache_close(cache);
}

static void the_least_recently_used_prefix_goes_first(void **state)
{
    (void)state;
    chain a, b, c;
    chain_init(&a, 6);
    chain_init(&b, 7);
    chain_init(&c, 8);
    kv_cache *cache = open_cache(12, 24, 1, true);
    kv_cache_extend(cache, &a.held, 20);
    publish(cache, &a, 20);
    kv_cache_extend(cache, &b.held, 20);
    publish(cache, &b, 20);
    kv_cache_release(cache, &b.held);
    kv_cache_release(cache, &a.held);
    kv_cache_extend(cache, &c.held, 12); /* two never used, then one of b, its last */
    assert_int_equal(find(cache, &a, 20).tokens, 20);
    assert_int_equal(find(cache, &b, 20).tokens, 16);
    kv_cache_attach(cache, &b.held, b.ids, b.hashes, 16); /* used again: now a is the oldest */
    kv_cache_release(cache, &b.held);
    kv_cache_extend(cache, &c.held, 24);
    assert_int_equal(find(cache, &a, 20).tokens, 8);
    assert_int_equal(find(cache, &b, 20).tokens, 16);
    kv_cache_release(cache, &c.held);
    kv_cache_close(cache);
}

static void equal_hashes_of_other_ids_are_told_apart(void **state)
{
    (void)state;
    chain a, b;
    chain_init(&a, 9);
    chain_init(&b, 10);
    memcpy(b.hashes, a.hashes, sizeof b.hashes); /* a collision of every block */
    memcpy(b.ids + 4 * BLOCK, a.ids + 4 * BLOCK, 4 * BLOCK * sizeof *b.ids);
    kv_cache *cache = open_cache(40, 40, 9, true);
    kv_cache_extend(cache, &a.held, 40);
    publish(cache, &a, 40);
    assert_int_equal(find(cache, &b, 40).tokens, 0);
    kv_cache_extend(cache, &b.held, 40);
    publish(cache, &b, 40); /* blocks 4 to 7 hold the same ids, but after other ones */
    assert_int_equal(find(cache, &b, 40).tokens, 40);
    assert_int_equal(find(cache, &a, 40).tokens, 40);
    kv_cache_release(cache, &a.held);
    kv_cache_release(cache, &b.held);
    kv_cache_attach(cache, &b.held, b.ids, b.hashes, 40);
    for (int i = 0; i < 10; i++) assert_int_not_equal(b.tables[OPS_FULL][i], a.tables[OPS_FULL][i]);
    kv_cache_release(cache, &b.held);
    kv_cache_close(cache);
}

static void twins_share_one_entry(void **state)
{
    (void)state;
    chain a, b;
    chain_init(&a, 11);
    chain_init(&b, 11);
    kv_cache *cache = open_cache(24, 24, 9, true);
    kv_cache_extend(cache, &a.held, 20);
    kv_cache_extend(cache, &b.held, 20); /* computed at the same time */
    publish(cache, &a, 20);
    publish(cache, &b, 20);
    assert_true(a.held.node == b.held.node);
    kv_cache_release(cache, &b.held);
    kv_cache_release(cache, &a.held);
    kv_cache_attach(cache, &b.held, b.ids, b.hashes, 20);
    assert_int_equal(b.tables[OPS_FULL][4], a.tables[OPS_FULL][4]);
    kv_cache_release(cache, &b.held);
    kv_cache_close(cache);
}

static void without_a_prefix_cache_nothing_is_found(void **state)
{
    (void)state;
    chain a;
    chain_init(&a, 12);
    kv_cache *cache = open_cache(24, 24, 9, false);
    kv_cache_extend(cache, &a.held, 40);
    publish(cache, &a, 40);
    assert_int_equal(find(cache, &a, 40).tokens, 0);
    kv_cache_release(cache, &a.held);
    kv_cache_close(cache);
}

static void hashes_depend_on_key_order_and_all_before(void **state)
{
    (void)state;
    const int32_t x[] = {1, 2, 3, 4}, y[] = {2, 1, 3, 4};
    const kv_hash none = {0, 0}, other = {1, 0};
    kv_hash h = kv_hash_block(KEY, none, x, 4), order = kv_hash_block(KEY, none, y, 4), parent = kv_hash_block(KEY, other, x, 4);
    kv_hash key = kv_hash_block(other, none, x, 4);
    assert_true(h.lo != order.lo && h.hi != order.hi);
    assert_true(h.lo != parent.lo && h.lo != key.lo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_taken_and_given_back),
        cmocka_unit_test(only_what_no_later_query_sees_is_dropped),
        cmocka_unit_test(a_prefix_is_found_after_its_holder_left),
        cmocka_unit_test(a_prefix_needs_its_window_of_sliding_blocks),
        cmocka_unit_test(the_least_recently_used_prefix_goes_first),
        cmocka_unit_test(equal_hashes_of_other_ids_are_told_apart),
        cmocka_unit_test(twins_share_one_entry),
        cmocka_unit_test(without_a_prefix_cache_nothing_is_found),
        cmocka_unit_test(hashes_depend_on_key_order_and_all_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
