#include "runtime/fetch/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

static status library_failed(status_detail *detail) { return status_fail(detail, STATUS_MACHINE, "OpenSSL has no SHA-256 or SHA-1 here"); }

static status finish(EVP_MD_CTX *context, char out[HUB_DIGEST_SIZE], status_detail *detail)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!EVP_DigestFinal_ex(context, bytes, &size) || 2 * size >= HUB_DIGEST_SIZE) return library_failed(detail);
    for (unsigned i = 0; i < size; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return STATUS_OK;
}

static status read_all(EVP_MD_CTX *context, int fd, int64_t size, const char *name, const atomic_bool *stop, char *block,
                       status_detail *detail)
{
    for (int64_t at = 0; at < size;) {
        if (atomic_load(stop)) return status_fail(detail, STATUS_BUSY, "interrupted");
        ssize_t n = pread(fd, block, size - at < BLOCK ? (size_t)(size - at) : BLOCK, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return status_fail(detail, STATUS_MACHINE, "%s: cannot be read: %s", name, strerror(errno));
        if (n == 0) return status_fail(detail, STATUS_MACHINE, "%s: ends after %" PRId64 " bytes of %" PRId64, name, at, size);
        if (!EVP_DigestUpdate(context, block, (size_t)n)) return library_failed(detail);
        at += n;
    }
    return STATUS_OK;
}

status digest_file(int fd, int64_t size, hub_digest kind, const char *name, const atomic_bool *stop, char out[HUB_DIGEST_SIZE],
                   status_detail *detail)
{
    char head[32], found[HUB_DIGEST_SIZE], *block = malloc(BLOCK);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    status result = STATUS_OK;
    if (!context || !block) {
        result = status_fail(detail, STATUS_MACHINE, "out of memory");
        goto done;
    }
    int length = snprintf(head, sizeof head, "blob %" PRId64, size) + 1; /* the NUL is hashed too */
    if (!EVP_DigestInit_ex(context, kind == HUB_SHA256 ? EVP_sha256() : EVP_sha1(), NULL) ||
        (kind == HUB_GIT_BLOB && !EVP_DigestUpdate(context, head, (size_t)length))) {
        result = library_failed(detail);
        goto done;
    }
    result = read_all(context, fd, size, name, stop, block, detail);
    if (result == STATUS_OK) result = finish(context, found, detail);
    if (result == STATUS_OK) memcpy(out, found, sizeof found);
done:
    EVP_MD_CTX_free(context);
    free(block);
    return result;
}

status digest_listing(const hub_listing *listing, char out[HUB_DIGEST_SIZE], status_detail *detail)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context) return status_fail(detail, STATUS_MACHINE, "out of memory");
    bool good = EVP_DigestInit_ex(context, EVP_sha1(), NULL);
    for (size_t i = 0; good && i < listing->count; i++)
        good = EVP_DigestUpdate(context, listing->files[i].path, strlen(listing->files[i].path) + 1) &&
               EVP_DigestUpdate(context, listing->files[i].digest, strlen(listing->files[i].digest) + 1);
    status result = good ? finish(context, out, detail) : library_failed(detail);
    EVP_MD_CTX_free(context);
    return result;
}
