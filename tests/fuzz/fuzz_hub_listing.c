/* Any bytes as each of the things that come from a hub, or lie beside an unfinished file: refused with a reason, or fit to be used as paths. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/hub_listing.h"
#include "runtime/fetch/hub_path.h"
#include "runtime/fetch/hub_select.h"
#include "runtime/fetch/part_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_listing(status (*add)(hub_listing *, const char *, size_t, status_detail *), const char *data, size_t size)
{
    hub_listing listing = {0};
    status_detail detail = {""};
    if (add(&listing, data, size, &detail) != STATUS_OK && (listing.count || !detail.text[0])) abort();
    size_t before = listing.count;
    if (add(&listing, data, size, &detail) == STATUS_OK && listing.count != 2 * before) abort(); /* every path twice now */
    if (hub_listing_finish(&listing, &detail) == STATUS_OK && before) abort();
    for (size_t i = 0; i < listing.count; i++) {
        const hub_file *file = &listing.files[i];
        if (!hub_path_is_safe(file->path, strlen(file->path)) || file->size < 0) abort();
        if (!hub_path_is_hex(file->digest, strlen(file->digest), file->kind == HUB_SHA256 ? 64 : 40)) abort();
    }
    for (int original = 0; original < 2; original++) {
        status selected = hub_select(&listing, original, &detail);
        if (selected == STATUS_OK && listing.count < 2) abort();
    }
    hub_listing_free(&listing);
}

static void check_record(const uint8_t *data, size_t size)
{
    part_plan plan;
    int64_t file = size >= 16 ? (int64_t)data[8] | (int64_t)data[9] << 8 : 0, total = 0;
    if (!part_record_parse(data, size, file, &plan)) return;
    for (uint32_t i = 0; i < plan.count; i++) {
        if (part_record_done(data, i) > part_plan_length(&plan, i) || part_plan_start(&plan, i) >= file) abort();
        total += part_plan_length(&plan, i);
    }
    if (total != file) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char commit[HUB_DIGEST_SIZE] = "";
    status_detail detail = {""};
    buffer next = {0};
    const char *text = (const char *)data;
    check_listing(hub_listing_add_huggingface, text, size);
    check_listing(hub_listing_add_modelscope, text, size);
    if (hub_listing_commit(text, size, commit, &detail) == STATUS_OK ? !hub_path_is_hex(commit, strlen(commit), 40) : commit[0] || !detail.text[0])
        abort();
    if (hub_listing_next(text, size, &next) && (!next.size || memchr(next.data, '\n', next.size) || strlen(next.data) != next.size)) abort();
    buffer_free(&next);
    check_record(data, size);
    return 0;
}
