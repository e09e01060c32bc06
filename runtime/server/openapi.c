/* GET /openapi.json: what this API takes and answers. */
#include "runtime/server/page.h"

/* One row. Generated from openapi.json: openapi_files.c in the build folder. */
extern const page_file openapi_files[];

void openapi_endpoint(const route_call *call)
{
    http_exchange_reply(call->exchange, 200, "application/json", (const char *)openapi_files->data, openapi_files->size);
}
