/* The web page and its files, which CMake writes into the program (page/embed.cmake). Internal to runtime/server. */
#ifndef RUNTIME_SERVER_PAGE_H
#define RUNTIME_SERVER_PAGE_H

#include <stddef.h>

#include "runtime/server/server_internal.h"

/* One file of the folder page/. All strings and bytes are static. */
typedef struct page_file {
    const char *name; /* "main.js" */
    const char *tag;  /* an entity tag: quotes and the beginning of the SHA-256 of the bytes */
    const unsigned char *data;
    size_t size;      /* bytes */
} page_file;

/* Ends with a row whose name is NULL. Generated: page_files.c in the build folder. */
extern const page_file page_files[];

/* GET /: index.html. */
void page_index_endpoint(const route_call *call);
/* GET /page/NAME: a file that the page asks for; 404 for a name that is none. */
void page_file_endpoint(const route_call *call);

#endif
