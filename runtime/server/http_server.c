#include "runtime/server/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/server/http_connection.h"

http_limits http_limits_default(void)
{
    return (http_limits){
        .max_head = 32 << 10,
        .max_body = 32 << 20,
        .max_backlog = 4 << 20,
        .head_seconds = 10,
        .body_seconds = 120,
        .idle_seconds = 75,
        .stall_seconds = 300,
        .linger_seconds = 2,
    };
}

/* Half of what the process may open, the rest is the engine's and MPI's. */
static int connection_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) return 512;
    return files.rlim_cur > 32768 ? 16384 : (int)files.rlim_cur / 2;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length, void *user)
{
    (void)listener;
    (void)address;
    (void)length;
    http_server *s = user;
    if (s->n_connections < s->limits.max_connections) {
        http_connection_open(s, fd);
        return;
    }
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) log_debug("a connection too many was closed");
    evutil_closesocket(fd);
}

/* Out of descriptors: without a pause the listener would fail again at once, and spin. */
static void on_accept_error(struct evconnlistener *listener, void *user)
{
    http_server *s = user;
    log_warn("cannot accept connections: %s; trying again in 100 ms", strerror(errno));
    evconnlistener_disable(listener);
    event_add(s->accept_again, &(struct timeval){.tv_usec = 100000});
}

static void on_accept_again(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    http_server *s = user;
    if (s->listener) evconnlistener_enable(s->listener);
}

static int listen_on(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1024)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static status bind_socket(const char *host, int port, int *out, status_detail *detail)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    int error = getaddrinfo(host, service, &hints, &found);
    if (error)
        return status_fail(detail, STATUS_MACHINE, "cannot resolve the address \"%s\": %s; set another with server.host or --host", host,
                           gai_strerror(error));
    int fd = -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) fd = listen_on(a);
    error = errno;
    freeaddrinfo(found);
    if (fd < 0)
        return status_fail(detail, STATUS_MACHINE, "cannot listen on %s port %d: %s; set another with server.port or --port (0: any)", host,
                           port, strerror(error));
    *out = fd;
    return STATUS_OK;
}

static int bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size)) return 0;
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

status http_server_open(struct event_base *base, const char *host, int port, const http_limits *limits, const http_callbacks *callbacks,
                        http_server **out, status_detail *detail)
{
    int fd = -1;
    status result = bind_socket(host, port, &fd, detail);
    if (result != STATUS_OK) return result;
    http_server *s = calloc(1, sizeof *s);
    if (!s) goto fail;
    s->base = base;
    s->limits = *limits;
    if (!s->limits.max_connections) s->limits.max_connections = connection_limit();
    s->callbacks = *callbacks;
    s->port = bound_port(fd);
    s->accept_again = event_new(base, -1, 0, on_accept_again, s);
    s->listener = evconnlistener_new(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!s->accept_again || !s->listener) goto fail;
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    *out = s;
    return STATUS_OK;
fail:
    if (!s || !s->listener) close(fd);
    http_server_close(s);
    return status_fail(detail, STATUS_MACHINE, "no memory for the HTTP server");
}

int http_server_port(const http_server *s) { return s->port; }
int http_server_connections(const http_server *s) { return s->n_connections; }

void http_server_drain(http_server *s)
{
    s->draining = true;
    if (s->listener) evconnlistener_free(s->listener);
    s->listener = NULL;
    for (http_exchange *c = s->connections, *next; c; c = next) {
        next = c->next;
        http_connection_drain(c);
    }
}

void http_server_close(http_server *s)
{
    if (!s) return;
    while (s->connections) http_connection_destroy(s->connections);
    if (s->listener) evconnlistener_free(s->listener);
    if (s->accept_again) event_free(s->accept_again);
    free(s);
}
