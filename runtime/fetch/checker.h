/* One thread that compares finished files with their checksums and puts them in their place, while others are still being fetched. Internal to
 * runtime/fetch. */
#ifndef RUNTIME_FETCH_CHECKER_H
#define RUNTIME_FETCH_CHECKER_H

#include "runtime/fetch/fetch_items.h"

typedef struct checker checker;

/* `most`: items that will ever be in it at one time. `ready(user)` is called on the checker's thread whenever checker_take() has one more. */
status checker_open(size_t most, void (*ready)(void *user), void *user, checker **out, status_detail *detail);
/* Hands the item over: its state is ITEM_CHECKING until checker_take() gives it back. */
void checker_submit(checker *c, fetch_item *item);
/* An item that was looked at, or NULL. `checked` and `matches` say how it went; the ones that match are in their place, and closed. */
fetch_item *checker_take(checker *c);
/* Stops within one block of a file; items not taken stay as they are. NULL is allowed. */
void checker_close(checker *c);

#endif
