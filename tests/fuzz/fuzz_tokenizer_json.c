/* tokenizer.json from any bytes; what opens must encode and decode without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Text with whole-word hits, merges of both sizes, every alternative of the pattern, and bytes above 7F. */
static const char probe[] =
    "Hello don't HTTPServer  12345 {}\n\n\t naïve 漢字テスト '\xC5\xBF 😀\xE3\x80\x80"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "abababababababababababababababababababababababababab";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tokenizer *t = NULL;
    status_detail detail = {{0}};
    id_list ids = {0};
    if (tokenizer_parse_json((const char *)data, size, &t, &detail) != STATUS_OK) {
        if (t || !detail.text[0]) abort();
        return 0;
    }
    if (tokenizer_encode(t, probe, sizeof probe - 1, &ids, &detail) != STATUS_OK) abort();
    size_t at = 0;
    for (size_t i = 0; i < ids.count; i++) {
        size_t n;
        const char *bytes = tokenizer_bytes(t, ids.ids[i], &n);
        if (!bytes || tokenizer_is_special(t, ids.ids[i]) || n > sizeof probe - 1 - at ||
            memcmp(bytes, probe + at, n) != 0)
            abort();
        at += n;
    }
    if (at != sizeof probe - 1) abort();
    id_list_free(&ids);
    tokenizer_close(t);
    return 0;
}
