#include "comm/watch_card.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const uint8_t magic[8] = {'g', 'p', 't', 'o', 's', 's', '-', 'w'};

void watch_card_hello(const watch_card *card, int rank, uint8_t hello[WATCH_HELLO_SIZE])
{
    uint32_t number = htonl((uint32_t)rank);
    memcpy(hello, magic, sizeof magic);
    memcpy(hello + sizeof magic, card->token, WATCH_TOKEN_SIZE);
    memcpy(hello + sizeof magic + WATCH_TOKEN_SIZE, &number, sizeof number);
}

watch_verdict watch_card_judge(const watch_card *card, const uint8_t *data, size_t size, int *rank)
{
    size_t head = size < sizeof magic ? size : sizeof magic;
    if (memcmp(data, magic, head) != 0) return WATCH_STRANGER;
    if (size < WATCH_HELLO_SIZE) return WATCH_MORE;
    uint8_t differs = 0;
    for (size_t i = 0; i < WATCH_TOKEN_SIZE; i++) differs |= data[sizeof magic + i] ^ card->token[i];
    uint32_t number;
    memcpy(&number, data + sizeof magic + WATCH_TOKEN_SIZE, sizeof number);
    number = ntohl(number);
    if (differs || number < 1 || number >= (uint32_t)card->n_ranks) return WATCH_STRANGER;
    *rank = (int)number;
    return WATCH_MEMBER;
}

static void address_text(const watch_address *address, char *text, size_t size)
{
    char number[INET6_ADDRSTRLEN] = "?";
    const void *where = &address->where;
    switch (address->where.ss_family) {
    case AF_UNIX: {
        const struct sockaddr_un *un = where;
        snprintf(text, size, "unix socket @%.40s", un->sun_path + 1);
        break;
    }
    case AF_INET: {
        const struct sockaddr_in *in = where;
        inet_ntop(AF_INET, &in->sin_addr, number, sizeof number);
        snprintf(text, size, "%s:%u", number, (unsigned)ntohs(in->sin_port));
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = where;
        inet_ntop(AF_INET6, &in6->sin6_addr, number, sizeof number);
        snprintf(text, size, "[%s]:%u", number, (unsigned)ntohs(in6->sin6_port));
        break;
    }
    default: snprintf(text, size, "unknown address");
    }
}

void watch_card_addresses(const watch_card *card, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < card->n_addresses && used < size; i++) {
        char one[96];
        address_text(&card->addresses[i], one, sizeof one);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", one);
    }
}
