#define _GNU_SOURCE /* memmem */
#include "runtime/server/responses_store.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct responses_turn {
    responses_turn *before;       /* a counted reference; NULL: the conversation begins here */
    responses_turn *older, *newer; /* all turns, by age */
    int references;
    buffer input, output;
};

typedef struct stored {
    responses_entry view; /* first */
    char *id;
    buffer object;
    struct stored *older, *newer; /* by use */
} stored;

struct responses_store {
    pthread_mutex_t lock; /* of all below */
    void *by_id;          /* tsearch(3) of entries */
    stored *oldest, *newest;
    responses_turn *newest_turn;
    size_t bytes, max_bytes;
};

static size_t turn_bytes(const responses_turn *t) { return sizeof *t + t->input.capacity + t->output.capacity; }
static size_t log_bytes(const stored *e) { return e->view.events ? responses_log_bytes(e->view.events) : 0; }
static size_t entry_bytes(const stored *e) { return sizeof *e + strlen(e->id) + e->object.capacity + log_bytes(e); }

static int compare(const void *a, const void *b) { return strcmp(((const stored *)a)->id, ((const stored *)b)->id); }

static stored *find(const responses_store *s, const char *id)
{
    const stored key = {.id = (char *)id};
    stored **found = tfind(&key, &s->by_id, compare);
    return found ? *found : NULL;
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void drop_turn(responses_store *s, responses_turn *t)
{
    while (t && --t->references == 0) {
        responses_turn *before = t->before;
        s->bytes -= turn_bytes(t);
        if (t->older) t->older->newer = t->newer;
        if (t->newer) t->newer->older = t->older;
        else s->newest_turn = t->older;
        buffer_free(&t->input);
        buffer_free(&t->output);
        free(t);
        t = before;
    }
}

responses_turn *responses_store_turn(responses_store *s, const char *id, api_error *error)
{
    responses_turn *turn = NULL;
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (!e) {
        responses_store_unknown(id, error);
        snprintf(error->param, sizeof error->param, "previous_response_id");
    } else if (e->view.running) {
        api_error_set(error, 400, "previous_response_id", "Response with id '%.100s' is still being made; wait until it is done.", id);
    } else {
        turn = e->view.turn;
        turn->references++;
    }
    pthread_mutex_unlock(&s->lock);
    return turn;
}

void responses_store_release(responses_store *s, responses_turn *turn)
{
    pthread_mutex_lock(&s->lock);
    drop_turn(s, turn);
    pthread_mutex_unlock(&s->lock);
}

/* Appends the values of a list without its brackets. */
static bool append_values(const buffer *text, json_t *list)
{
    if (!text->size) return true;
    buffer whole = {0};
    bool good = buffer_reserve(&whole, text->size + 2) && buffer_append_text(&whole, "[") && buffer_append(&whole, text->data, text->size) &&
                buffer_append_text(&whole, "]");
    json_t *values = good ? json_loadb(whole.data, whole.size, JSON_ALLOW_NUL, NULL) : NULL;
    good = values && !json_array_extend(list, values);
    json_decref(values);
    buffer_free(&whole);
    return good;
}

bool responses_store_items(const responses_turn *turn, bool input_only, json_t *list)
{
    size_t n = 0;
    for (const responses_turn *t = turn; t; t = t->before) n++;
    const responses_turn **chain = calloc(n + 1, sizeof *chain);
    if (!chain) return false;
    size_t at = n;
    for (const responses_turn *t = turn; t; t = t->before) chain[--at] = t;
    bool good = true;
    for (size_t i = 0; good && i < n; i++)
        good = append_values(&chain[i]->input, list) && ((input_only && i + 1 == n) || append_values(&chain[i]->output, list));
    free(chain);
    return good;
}

/* The item with this id among the values of a list. Most lists do not even hold the id's text. */
static json_t *search(const buffer *text, const char *id)
{
    if (!text->size || !memmem(text->data, text->size, id, strlen(id))) return NULL;
    json_t *list = json_array(), *found = NULL;
    if (list && append_values(text, list)) {
        for (size_t i = json_array_size(list); i && !found; i--) {
            json_t *item = json_array_get(list, i - 1);
            const char *its = json_string_value(json_object_get(item, "id"));
            if (its && !strcmp(its, id)) found = json_incref(item);
        }
    }
    json_decref(list);
    return found;
}

json_t *responses_store_item(responses_store *s, const char *id)
{
    json_t *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (const responses_turn *t = s->newest_turn; t && !found; t = t->older) {
        found = search(&t->output, id);
        if (!found) found = search(&t->input, id);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static void unlink_use(responses_store *s, stored *e)
{
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    e->older = e->newer = NULL;
}

static void link_use(responses_store *s, stored *e)
{
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}


static void drop_entry(responses_store *s, stored *e)
{
    tdelete(e, &s->by_id, compare);
    unlink_use(s, e);
    s->bytes -= entry_bytes(e);
    drop_turn(s, e->view.turn);
    responses_log_close(e->view.events);
    buffer_free(&e->object);
    free(e->id);
    free(e);
}

static void make_room(responses_store *s)
{
    for (stored *e = s->oldest, *newer; e && s->bytes > s->max_bytes; e = newer) {
        newer = e->newer;
        if (!e->view.running) drop_entry(s, e);
    }
}

bool responses_store_begin(responses_store *s, const char *id, responses_turn *before, buffer *input, bool background, void *running)
{
    stored *e = calloc(1, sizeof *e);
    responses_turn *turn = calloc(1, sizeof *turn);
    char *copy = strdup(id);
    bool good = false;
    pthread_mutex_lock(&s->lock);
    if (e && turn && copy) {
        e->id = copy;
        good = tsearch(e, &s->by_id, compare) != NULL;
    }
    if (good) {
        e->view = (responses_entry){.running = running, .background = background, .turn = turn};
        *turn = (responses_turn){.before = before, .references = 1, .input = *input, .older = s->newest_turn};
        *input = (buffer){0};
        if (before) before->references++;
        if (s->newest_turn) s->newest_turn->newer = turn;
        s->newest_turn = turn;
        s->bytes += turn_bytes(turn) + entry_bytes(e);
        link_use(s, e);
    } else {
        free(copy);
        free(turn);
        free(e);
    }
    pthread_mutex_unlock(&s->lock);
    return good;
}

void responses_store_stream(responses_store *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (e && !e->view.streamed) {
        e->view.streamed = true;
        e->view.events = responses_log_open();
        s->bytes += log_bytes(e);
    }
    pthread_mutex_unlock(&s->lock);
}

static void drop_events(responses_store *s, stored *e)
{
    s->bytes -= log_bytes(e);
    responses_log_close(e->view.events);
    e->view.events = NULL;
}

bool responses_store_event(responses_store *s, const char *id, const responses_event *event)
{
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (e && e->view.events) {
        size_t before = log_bytes(e);
        bool good = event && responses_log_add(e->view.events, event);
        s->bytes += log_bytes(e) - before;
        if (!good) drop_events(s, e);
        make_room(s);
        e = find(s, id);
        if (e && e->view.events && s->bytes > s->max_bytes) drop_events(s, e);
    }
    bool kept = e && e->view.events;
    pthread_mutex_unlock(&s->lock);
    return kept;
}

void responses_store_finish(responses_store *s, const char *id, buffer *object, buffer *output)
{
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (e) {
        e->object = *object;
        e->view.turn->output = *output;
        s->bytes += object->capacity + output->capacity;
        *object = *output = (buffer){0};
        e->view.text = e->object.data ? e->object.data : "";
        e->view.size = e->object.size;
        e->view.running = NULL;
        unlink_use(s, e);
        link_use(s, e);
        make_room(s);
    }
    pthread_mutex_unlock(&s->lock);
}

const responses_entry *responses_store_find(responses_store *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (e) {
        unlink_use(s, e);
        link_use(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    return e ? &e->view : NULL;
}

bool responses_store_remove(responses_store *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    stored *e = find(s, id);
    if (e) drop_entry(s, e);
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

bool responses_store_unknown(const char *id, api_error *error)
{
    return api_error_set(error, 404, NULL,
                         "Response with id '%.100s' not found: it was never stored, was deleted, or has made room for newer ones.", id);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

responses_store *responses_store_open(size_t max_bytes)
{
    responses_store *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        return NULL;
    }
    s->max_bytes = max_bytes;
    return s;
}

void responses_store_close(responses_store *s)
{
    if (!s) return;
    while (s->oldest) drop_entry(s, s->oldest);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
