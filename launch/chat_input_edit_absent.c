/* A build without libedit: lines come as the terminal has them. */
#include "launch/chat_input.h"

chat_input *chat_input_edit_open(int signals, bool colour)
{
    (void)signals, (void)colour;
    return NULL;
}
