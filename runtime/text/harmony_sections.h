/* The text of system and developer messages: sections joined by blank lines. */
#ifndef RUNTIME_TEXT_HARMONY_SECTIONS_H
#define RUNTIME_TEXT_HARMONY_SECTIONS_H

#include "runtime/text/harmony.h"

/* Appends the content of a system message. `function_tools`: some developer message of the conversation declares
 * functions, and the channels line must say where calls go. STATUS_INVALID for a schema nested too deep,
 * STATUS_INTERNAL when memory ends. */
status harmony_sections_system(const harmony_system *system, bool function_tools, buffer *out, status_detail *detail);

/* Appends the content of a developer message. Errors as above. */
status harmony_sections_developer(const harmony_developer *developer, buffer *out, status_detail *detail);

#endif
