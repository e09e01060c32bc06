#include "runtime/server/responses_log.h"

#include <stdlib.h>
#include <string.h>

/* A record is a byte, WHOLE or SAME, and texts, each behind its size: type, fields and rest, or the rest alone, of an event that has type and fields in
 * common with the last WHOLE one. A size is in groups of seven bits, the lowest first, all but the last with the top bit set (LEB128). */
enum { WHOLE = 'w', SAME = 's', MAX_SIZE_BYTES = 10 };

struct responses_log {
    buffer bytes;
    size_t head;      /* offset of the last WHOLE record */
    long long n;
    bool ended;
    responses_log_reader *readers;
};

typedef struct text {
    const char *data;
    size_t size;
} text;

/* ---- records ----------------------------------------------------------------------------------------------------- */

static bool put(buffer *b, const char *data, size_t size)
{
    unsigned char head[MAX_SIZE_BYTES];
    size_t n = 0, left = size;
    for (; left > 0x7f; left >>= 7) head[n++] = (unsigned char)(left | 0x80);
    head[n++] = (unsigned char)left;
    return buffer_append(b, head, n) && (!size || buffer_append(b, data, size));
}

static text take(const responses_log *l, size_t *at)
{
    text t = {.size = 0};
    unsigned char byte;
    for (int shift = 0;; shift += 7) {
        byte = (unsigned char)l->bytes.data[(*at)++];
        t.size |= (size_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) break;
    }
    t.data = l->bytes.data + *at;
    *at += t.size;
    return t;
}

static bool is(text t, const char *data, size_t size) { return t.size == size && (!size || !memcmp(t.data, data, size)); }

/* The type and the fields of the WHOLE record at `at`; where its rest is, in *rest_at. */
static void take_head(const responses_log *l, size_t at, text *type, text *fields, size_t *rest_at)
{
    *rest_at = at + 1;
    *type = take(l, rest_at);
    *fields = take(l, rest_at);
}

static bool same_head(const responses_log *l, const responses_event *e)
{
    text type, fields;
    size_t rest_at;
    if (!l->n) return false;
    take_head(l, l->head, &type, &fields, &rest_at);
    return is(type, e->type, strlen(e->type)) && is(fields, e->fields, e->fields_size);
}

void responses_log_frame(const char *type, size_t type_size, long long number, json_writer *out)
{
    int size = (int)type_size;
    json_write_format(out, "event: %.*s\ndata: {\"type\":\"%.*s\",\"sequence_number\":%lld", size, type, size, type, number);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

responses_log *responses_log_open(void) { return calloc(1, sizeof(responses_log)); }

static void tell(responses_log *l)
{
    for (responses_log_reader *r = l->readers, *next; r; r = next) {
        next = r->next;
        r->changed(r);
    }
}

void responses_log_close(responses_log *l)
{
    if (!l) return;
    while (l->readers) {
        responses_log_reader *r = l->readers;
        responses_log_leave(r);
        r->changed(r);
    }
    buffer_free(&l->bytes);
    free(l);
}

bool responses_log_add(responses_log *l, const responses_event *e)
{
    size_t before = l->bytes.size;
    bool same = same_head(l, e);
    char kind = same ? SAME : WHOLE;
    bool good = buffer_append(&l->bytes, &kind, 1) &&
                (same || (put(&l->bytes, e->type, strlen(e->type)) && put(&l->bytes, e->fields, e->fields_size))) &&
                put(&l->bytes, e->rest, e->rest_size);
    if (!good) {
        l->bytes.size = before;
        return false;
    }
    if (!same) l->head = before;
    l->n++;
    l->ended = e->last;
    tell(l);
    return true;
}

size_t responses_log_bytes(const responses_log *l) { return sizeof *l + l->bytes.capacity; }

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The record at r->at; moves behind it. */
static void read_record(responses_log_reader *r, text *type, text *fields, text *rest)
{
    const responses_log *l = r->log;
    size_t rest_at;
    if (l->bytes.data[r->at] == WHOLE) r->head = r->at;
    take_head(l, r->head, type, fields, &rest_at);
    if (r->head != r->at) rest_at = r->at + 1;
    *rest = take(l, &rest_at);
    r->at = rest_at;
    r->number++;
}

void responses_log_join(responses_log *l, responses_log_reader *r, long long first)
{
    *r = (responses_log_reader){.changed = r->changed, .log = l, .first = first, .next = l->readers};
    if (r->next) r->next->previous = r;
    l->readers = r;
}

void responses_log_leave(responses_log_reader *r)
{
    if (!r->log) return;
    *(r->previous ? &r->previous->next : &r->log->readers) = r->next;
    if (r->next) r->next->previous = r->previous;
    r->log = NULL;
    r->previous = r->next = NULL;
}

bool responses_log_next(responses_log_reader *r, json_writer *out)
{
    text type, fields, rest;
    bool found = false;
    while (!found && r->number < r->log->n) {
        found = r->number >= r->first;
        read_record(r, &type, &fields, &rest);
    }
    if (!found) return false;
    responses_log_frame(type.data, type.size, r->number - 1, out);
    json_write_bytes(out, fields.data, fields.size);
    json_write_bytes(out, rest.data, rest.size);
    json_write_raw(out, RESPONSES_LOG_FRAME_END);
    return true;
}

bool responses_log_is_over(const responses_log_reader *r) { return r->log->ended && r->number >= r->log->n; }
