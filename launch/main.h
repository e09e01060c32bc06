/* What the verbs may ask of the program as a whole. */
#ifndef LAUNCH_MAIN_H
#define LAUNCH_MAIN_H

/* Leaves the process at once, without clean-up: when a rank was lost, or on a signal after the one that asks nicely. Any thread. */
_Noreturn void main_leave(int code);

#endif
