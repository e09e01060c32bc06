/* What rank 0 tells the others about its watch socket, and the first bytes that a connection must carry.
 *
 * Handshake of one connection: the joining rank sends its hello; rank 0 replies with the answer token, which proves to the
 * joining rank that no stranger listens at that address (bridge networks have the same address on every host); the joining
 * rank confirms with one byte. Before the confirmation either side may drop the connection without consequence. */
#ifndef COMM_WATCH_CARD_H
#define COMM_WATCH_CARD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define WATCH_TOKEN_SIZE 16
#define WATCH_ADDRESSES 16
#define WATCH_HELLO_SIZE 28 /* 8 bytes "gptoss-w", token, rank as four bytes, most significant first */
#define WATCH_CONFIRM 'J'

typedef struct watch_address {
    socklen_t size;
    struct sockaddr_storage where; /* AF_UNIX (abstract), AF_INET or AF_INET6 */
} watch_address;

/* Flat, so that it travels as bytes between ranks of one program. */
typedef struct watch_card {
    uint8_t token[WATCH_TOKEN_SIZE];  /* random; who knows it may join */
    uint8_t answer[WATCH_TOKEN_SIZE]; /* random; who knows it is rank 0 */
    int32_t n_ranks;
    int32_t n_addresses;
    watch_address addresses[WATCH_ADDRESSES];
} watch_card;

void watch_card_hello(const watch_card *card, int rank, uint8_t hello[WATCH_HELLO_SIZE]);

typedef enum watch_verdict { WATCH_MORE, WATCH_STRANGER, WATCH_MEMBER } watch_verdict;

/* Judges what a connection sent so far (`size` <= WATCH_HELLO_SIZE bytes of anything). WATCH_STRANGER as soon as it cannot
 * become a hello any more. *rank (1 .. n_ranks-1) is set for WATCH_MEMBER only. Takes the same time for all wrong tokens. */
watch_verdict watch_card_judge(const watch_card *card, const uint8_t *data, size_t size, int *rank);

/* "unix socket @name, 10.0.0.1:4242, [fd00::2]:4242": for messages. Cut to `size`. */
void watch_card_addresses(const watch_card *card, char *text, size_t size);

#endif
