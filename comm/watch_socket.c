#define _GNU_SOURCE /* accept4() */
#include "comm/watch_socket.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define BACKLOG 1024

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A host that loses power sends no EOF: probes make a silent link fail after some ten seconds. */
static void set_tcp_options(int fd)
{
    int on = 1, idle = 5, interval = 2, probes = 3, limit_ms = 10000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

static int listen_unix(watch_card *card)
{
    uint8_t random[12];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return -1;
    watch_address *address = &card->addresses[card->n_addresses];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int length = snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "gptoss-");
    for (size_t i = 0; i < sizeof random; i++)
        length += snprintf(un.sun_path + 1 + length, sizeof un.sun_path - 1 - (size_t)length, "%02x", random[i]);
    address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    memset(&address->where, 0, sizeof address->where);
    memcpy(&address->where, &un, sizeof un);
    int fd = socket(AF_UNIX, FLAGS, 0);
    if (fd < 0) return -1;
    if (bind(fd, (const struct sockaddr *)&address->where, address->size) != 0 || listen(fd, BACKLOG) != 0) {
        close(fd);
        return -1;
    }
    card->n_addresses++;
    return fd;
}

static int listen_at(const void *where, socklen_t size, int family)
{
    int fd = socket(family, FLAGS, 0), off = 0;
    if (fd < 0) return -1;
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, where, size) == 0 && listen(fd, BACKLOG) == 0) return fd;
    close(fd);
    return -1;
}

/* Whether a peer on another host could reach `a`, or, with `loopback`, one in another namespace of this host. */
static bool is_candidate(const struct ifaddrs *a, bool dual, bool loopback)
{
    if (!a->ifa_addr || !(a->ifa_flags & IFF_UP) || !(a->ifa_flags & IFF_LOOPBACK) == loopback) return false;
    if (a->ifa_addr->sa_family == AF_INET) return true;
    if (a->ifa_addr->sa_family != AF_INET6 || !dual) return false;
    const struct sockaddr_in6 *in6 = (const void *)a->ifa_addr;
    return !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
}

static void add_interfaces(watch_card *card, const struct ifaddrs *list, bool dual, bool loopback, in_port_t port)
{
    for (const struct ifaddrs *a = list; a && card->n_addresses < WATCH_ADDRESSES; a = a->ifa_next) {
        if (!is_candidate(a, dual, loopback)) continue;
        watch_address *address = &card->addresses[card->n_addresses++];
        memset(address, 0, sizeof *address);
        bool six = a->ifa_addr->sa_family == AF_INET6;
        address->size = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        memcpy(&address->where, a->ifa_addr, address->size);
        if (six)
            ((struct sockaddr_in6 *)&address->where)->sin6_port = port;
        else
            ((struct sockaddr_in *)&address->where)->sin_port = port;
    }
}

static int listen_tcp(watch_card *card)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = listen_at(&any6, sizeof any6, AF_INET6);
    bool dual = fd >= 0;
    if (!dual) fd = listen_at(&any4, sizeof any4, AF_INET);
    if (fd < 0) return -1;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    struct ifaddrs *list = NULL;
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0 || getifaddrs(&list) != 0) {
        close(fd);
        return -1;
    }
    in_port_t port = dual ? ((struct sockaddr_in6 *)&bound)->sin6_port : ((struct sockaddr_in *)&bound)->sin_port;
    int before = card->n_addresses;
    add_interfaces(card, list, dual, false, port);
    if (card->n_addresses == before) add_interfaces(card, list, dual, true, port);
    freeifaddrs(list);
    return fd;
}

status watch_socket_listen(int n_ranks, bool between_hosts, watch_card *card, int fds[WATCH_LISTENERS], int *n_fds,
                           status_detail *detail)
{
    watch_card made;
    memset(&made, 0, sizeof made); /* padding travels too */
    made.n_ranks = n_ranks;
    if (getrandom(made.token, WATCH_TOKEN_SIZE, 0) != WATCH_TOKEN_SIZE ||
        getrandom(made.answer, WATCH_TOKEN_SIZE, 0) != WATCH_TOKEN_SIZE)
        return status_fail(detail, STATUS_MACHINE, "watch socket: the system gives no random numbers: %s",
                           strerror(errno));
    int local = listen_unix(&made);
    if (local < 0)
        return status_fail(detail, STATUS_MACHINE, "watch socket: cannot listen on a Unix socket: %s", strerror(errno));
    if (between_hosts) {
        int tcp = listen_tcp(&made);
        if (tcp < 0) {
            close(local);
            return status_fail(detail, STATUS_MACHINE, "watch socket: cannot listen on a TCP port: %s", strerror(errno));
        }
        fds[1] = tcp;
    }
    fds[0] = local;
    *n_fds = between_hosts ? 2 : 1;
    *card = made;
    return STATUS_OK;
}

int watch_socket_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) set_tcp_options(fd); /* no effect on a Unix socket */
    return fd;
}

/* Sends or receives exactly `size` bytes by `deadline`. Returns 0 or an errno. */
static int move_all(int fd, void *data, size_t size, bool out, int64_t deadline)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = out ? POLLOUT : POLLIN};
        int64_t left = deadline - now_ms();
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return ready < 0 ? errno : ETIMEDOUT;
        ssize_t n = out ? send(fd, (char *)data + done, size - done, MSG_NOSIGNAL)
                        : recv(fd, (char *)data + done, size - done, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) return n < 0 ? errno : ECONNRESET;
        done += (size_t)n;
    }
    return 0;
}

static int finish_connect(int fd, int64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int64_t left = deadline - now_ms();
    if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0) return ETIMEDOUT;
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) return errno;
    return code;
}

/* One attempt at one address. Returns 0 and the connection, or an errno. */
static int try_address(const watch_card *card, const watch_address *address, int rank, int64_t deadline, int *out)
{
    int fd = socket(address->where.ss_family, FLAGS, 0);
    if (fd < 0) return errno;
    uint8_t hello[WATCH_HELLO_SIZE], answer[WATCH_TOKEN_SIZE], confirm = WATCH_CONFIRM;
    int code = 0;
    if (connect(fd, (const struct sockaddr *)&address->where, address->size) != 0)
        code = errno == EINPROGRESS ? finish_connect(fd, deadline) : errno;
    if (code) goto failed;
    set_tcp_options(fd);
    watch_card_hello(card, rank, hello);
    code = move_all(fd, hello, sizeof hello, true, deadline);
    if (!code) code = move_all(fd, answer, sizeof answer, false, deadline);
    if (!code && memcmp(answer, card->answer, sizeof answer) != 0) code = EPROTO;
    if (!code) code = move_all(fd, &confirm, 1, true, deadline);
    if (code) goto failed;
    *out = fd;
    return 0;

failed:
    close(fd);
    return code;
}

status watch_socket_join(const watch_card *card, int rank, bool same_host, int limit_ms, int *fd, status_detail *detail)
{
    int64_t deadline = now_ms() + limit_ms, patience = 1000; /* per address, doubled every round */
    int code = EADDRNOTAVAIL;
    for (; now_ms() < deadline; patience *= 2) {
        for (int i = 0; i < card->n_addresses; i++) {
            const watch_address *address = &card->addresses[i];
            if (address->where.ss_family == AF_UNIX && !same_host) continue;
            int64_t until = now_ms() + patience;
            code = try_address(card, address, rank, until < deadline ? until : deadline, fd);
            if (!code) return STATUS_OK;
        }
        struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    char names[512];
    watch_card_addresses(card, names, sizeof names);
    return status_fail(detail, STATUS_PEER,
                       "cannot reach rank 0's watch socket at any of %s within %d s: %s; let TCP between the hosts "
                       "through (firewall, container network)",
                       names, (limit_ms + 999) / 1000, strerror(code));
}
