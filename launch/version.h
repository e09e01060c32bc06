/* `gptoss-tp --version`. */
#ifndef LAUNCH_VERSION_H
#define LAUNCH_VERSION_H

#include <stdio.h>

void version_print(FILE *out);

#endif
