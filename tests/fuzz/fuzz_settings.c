/* The YAML reader of the configuration: any bytes end in settings or in one line of detail. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    settings s;
    status_detail detail = {""};
    if (settings_init(&s, &detail) != STATUS_OK) abort();
    status result = settings_read_yaml(&s, "fuzz.yaml", (const char *)data, size, &detail);
    if (result == STATUS_OK) result = settings_finish(&s, &detail);
    if (result != STATUS_OK && (result != STATUS_USAGE || !*detail.text || strchr(detail.text, '\n'))) abort();
    settings_free(&s);
    return 0;
}
