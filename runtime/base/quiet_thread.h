/* A thread that takes no signals: those of the process are the main thread's, and a client that closes its socket must not raise SIGPIPE
 * in it. */
#ifndef RUNTIME_BASE_QUIET_THREAD_H
#define RUNTIME_BASE_QUIET_THREAD_H

#include <pthread.h>

/* As pthread_create(): 0, or an errno value. */
int quiet_thread_start(pthread_t *out, void *(*run)(void *user), void *user);

#endif
