#include "launch/chat_signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

status chat_signals_open(int *fd, status_detail *detail)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(&set, numbers[i]);
    int opened = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (opened < 0) return status_fail(detail, STATUS_MACHINE, "signalfd: %s", strerror(errno));
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    *fd = opened;
    return STATUS_OK;
}

void chat_signals_close(int fd)
{
    if (fd >= 0) close(fd);
}

chat_signal chat_signals_take(int fd)
{
    struct signalfd_siginfo info;
    if (fd < 0 || read(fd, &info, sizeof info) != sizeof info) return CHAT_SIGNAL_NONE;
    if (info.ssi_signo == SIGINT) return CHAT_SIGNAL_INTERRUPT;
    return info.ssi_signo == SIGWINCH || info.ssi_signo == SIGCONT ? CHAT_SIGNAL_REDRAW : CHAT_SIGNAL_LEAVE;
}
