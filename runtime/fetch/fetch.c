#include "runtime/fetch/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/hub_cache.h"
#include "runtime/fetch/digest.h"
#include "runtime/fetch/folders.h"
#include "runtime/fetch/hub_path.h"
#include "runtime/fetch/hub_select.h"
#include "runtime/fetch/transfer.h"
#include "runtime/fetch/url.h"

enum {
    ANSWER_MOST = 16 << 20, /* bytes of one page of a listing; a thousand entries take a quarter of a MiB */
    PAGES_MOST = 1000,
    TOKEN_MOST = 4096,
};

/* What one fetch goes by. */
typedef struct fetch_job {
    const fetch_options *options;
    const hub_source *source;
    char endpoint[1024], revision[256], token[TOKEN_MOST];
    hub_place place; /* points into the above */
    http_settings http;
    hub_listing listing;
    char commit[HUB_DIGEST_SIZE];
} fetch_job;

const char *fetch_sources(void) { return hub_source_names(); }

/* Text without the white space around it; a token with anything but printable characters would end up in the request's head. */
static status take_token(const char *text, const char *from, char out[TOKEN_MOST], status_detail *detail)
{
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') text++;
    size_t n = strcspn(text, " \t\r\n");
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~') return status_fail(detail, STATUS_USAGE, "%s holds a character that no token has", from);
    if (text[n + strspn(text + n, " \t\r\n")]) return status_fail(detail, STATUS_USAGE, "%s holds more than a token", from);
    if (n >= TOKEN_MOST) return status_fail(detail, STATUS_USAGE, "%s holds no token: it is too long", from);
    memcpy(out, text, n);
    out[n] = '\0';
    return STATUS_OK;
}

static status find_token(const hub_source *source, char out[TOKEN_MOST], status_detail *detail)
{
    char path[PATH_MAX], text[TOKEN_MOST] = "";
    out[0] = '\0';
    for (int i = 0; i < 2 && source->token_variables[i]; i++) {
        const char *value = getenv(source->token_variables[i]);
        if (value && *value) return take_token(value, source->token_variables[i], out, detail);
    }
    if (!source->token_file || !hub_cache_token_path(path, sizeof path)) return STATUS_OK;
    FILE *file = fopen(path, "r");
    if (!file) return STATUS_OK;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return take_token(text, path, out, detail);
}

static status prepare(const fetch_options *options, fetch_job *job, status_detail *detail)
{
    const char *name = options->repository, *revision = options->revision;
    job->options = options;
    job->source = hub_source_find(options->source);
    if (!job->source)
        return status_fail(detail, STATUS_USAGE, "--source: found '%.64s', allowed is %s", options->source, hub_source_names());
    if (!hub_cache_is_repository(name) || !strchr(name, '/'))
        return status_fail(detail, STATUS_USAGE, "'%.200s' is no name of a model; one is openai/gpt-oss-20b", name);
    if (revision && !hub_path_is_revision(revision))
        return status_fail(detail, STATUS_USAGE, "--revision: found '%.64s', allowed is a branch, a tag or a commit", revision);
    const char *endpoint = getenv(job->source->endpoint_variable);
    if (!endpoint || !*endpoint) endpoint = job->source->endpoint;
    size_t length = strlen(endpoint);
    while (length > 0 && endpoint[length - 1] == '/') length--;
    if (length >= sizeof job->endpoint || !url_is_http(endpoint))
        return status_fail(detail, STATUS_USAGE, "%s: found '%.200s', allowed is an address such as %s", job->source->endpoint_variable, endpoint,
                           job->source->endpoint);
    memcpy(job->endpoint, endpoint, length);
    job->endpoint[length] = '\0';
    snprintf(job->revision, sizeof job->revision, "%s", revision ? revision : job->source->default_branch);
    STATUS_TRY(find_token(job->source, job->token, detail));
    job->place = (hub_place){job->endpoint, name, job->revision};
    job->http = (http_settings){job->endpoint, *job->token ? job->token : NULL, options->retries, &options->events};
    return STATUS_OK;
}

/* The commit that the revision stands for; from then on `place` means it, so that all files are of one state. */
static status read_commit(fetch_job *job, status_detail *detail)
{
    buffer url = {0}, body = {0}, next = {0};
    status result = STATUS_OK;
    if (!job->source->commit_url(job->source, &job->place, &url)) result = status_fail(detail, STATUS_MACHINE, "out of memory");
    if (result == STATUS_OK) result = http_get(&job->http, url.data, ANSWER_MOST, &body, &next, detail);
    if (result == STATUS_OK) result = hub_listing_commit(body.data ? body.data : "", body.size, job->commit, detail);
    if (result == STATUS_OK) job->place.revision = job->commit;
    buffer_free(&next);
    buffer_free(&body);
    buffer_free(&url);
    return result;
}

static status read_listing(fetch_job *job, status_detail *detail)
{
    buffer url = {0}, body = {0}, next = {0};
    status result = STATUS_OK;
    if (!job->source->listing_url(job->source, &job->place, &url)) result = status_fail(detail, STATUS_MACHINE, "out of memory");
    for (int page = 0; result == STATUS_OK && url.size; page++) {
        if (page == PAGES_MOST) {
            result = status_fail(detail, STATUS_MODEL, "the hub's listing has more than %d pages, which no model has", PAGES_MOST);
            break;
        }
        result = http_get(&job->http, url.data, ANSWER_MOST, &body, &next, detail);
        if (result == STATUS_OK) result = job->source->add_page(&job->listing, body.data ? body.data : "", body.size, detail);
        if (result == STATUS_OK && next.size && !url_may_follow(url.data, next.data))
            result = status_fail(detail, STATUS_PEER, "the hub's listing goes on where one must not follow: %.100s", next.data);
        buffer_clear(&url);
        if (result == STATUS_OK && next.size && !buffer_append(&url, next.data, next.size))
            result = status_fail(detail, STATUS_MACHINE, "out of memory");
    }
    buffer_free(&next);
    buffer_free(&body);
    buffer_free(&url);
    if (result == STATUS_OK) result = hub_listing_finish(&job->listing, detail);
    if (result == STATUS_OK) result = hub_select(&job->listing, job->options->original, detail);
    if (result == STATUS_OK && !job->source->commit_url) result = digest_listing(&job->listing, job->commit, detail);
    return result;
}

static status lay_out(const fetch_job *job, cache_layout *out, status_detail *detail)
{
    char hub[PATH_MAX];
    if (job->options->to) return cache_layout_plain(out, job->options->to, job->commit, detail);
    if (!hub_cache_folder(hub, sizeof hub))
        return status_fail(detail, STATUS_USAGE, "there is no Hugging Face cache: none of HF_HUB_CACHE, HF_HOME and HOME is set; give --to DIR");
    return cache_layout_cache(out, hub, job->options->repository, job->commit, detail);
}

/* All files are here: the snapshot appears, and last the branch that leads to it, so that a model which is found is a whole one. */
static status link_all(const fetch_job *job, const cache_layout *layout, bool *by_name, status_detail *detail)
{
    char link[PATH_MAX], target[PATH_MAX];
    for (size_t i = 0; i < job->listing.count; i++) {
        const hub_file *file = &job->listing.files[i];
        if (!cache_layout_link(layout, file, link) || !cache_layout_target(file, target))
            return status_fail(detail, STATUS_MACHINE, "%.200s: its path is too long", file->path);
        STATUS_TRY(folders_link(link, target, detail));
    }
    /* What a hub calls its default branch, the cache calls main. A commit has no name. */
    bool is_default = strcmp(job->revision, job->source->default_branch) == 0;
    *by_name = is_default;
    if (strcmp(job->revision, job->commit) == 0) return STATUS_OK;
    if (!cache_layout_ref(layout, is_default ? "main" : job->revision, link))
        return status_fail(detail, STATUS_MACHINE, "%.200s: the path is too long", job->revision);
    return folders_write(link, job->commit, detail);
}

/* [locked] */
static status fetch_files(const fetch_job *job, const cache_layout *layout, fetch_result *out, status_detail *detail)
{
    fetch_items items = {0};
    status result = folders_make(layout->work, false, detail);
    if (result == STATUS_OK) result = fetch_items_make(&job->listing, layout, job->source, &job->place, &items, detail);
    if (result == STATUS_OK) result = folders_check_space(layout->work, fetch_items_wanted(&items), detail);
    if (result == STATUS_OK) result = transfer_run(&job->http, job->options, &items, detail);
    if (result == STATUS_OK && !layout->plain) result = link_all(job, layout, &out->by_name, detail);
    if (result == STATUS_OK) {
        out->files = (int)job->listing.count;
        out->bytes = items.total;
        memcpy(out->dir, layout->files, sizeof out->dir);
    }
    fetch_items_free(&items);
    return result;
}

static status run(const fetch_options *options, fetch_result *out, status_detail *detail)
{
    cache_layout layout;
    int lock = -1;
    fetch_job *job = calloc(1, sizeof *job);
    if (!job) return status_fail(detail, STATUS_MACHINE, "out of memory");
    status result = prepare(options, job, detail);
    if (result == STATUS_OK && job->source->commit_url) result = read_commit(job, detail);
    if (result == STATUS_OK) result = read_listing(job, detail);
    if (result == STATUS_OK) result = lay_out(job, &layout, detail);
    if (result == STATUS_OK) result = folders_lock(layout.lock, &options->events, &lock, detail);
    if (result == STATUS_OK) {
        result = fetch_files(job, &layout, out, detail);
        folders_unlock(layout.lock, lock);
        if (layout.plain) rmdir(layout.work); /* stays when something unfinished is in it */
    }
    hub_listing_free(&job->listing);
    free(job);
    return result;
}

status fetch_run(const fetch_options *options, fetch_result *out, status_detail *detail)
{
    fetch_result found = {.by_name = false};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return status_fail(detail, STATUS_MACHINE, "libcurl cannot be started");
    status result = run(options, &found, detail);
    curl_global_cleanup();
    found.cancelled = result == STATUS_BUSY;
    if (result == STATUS_OK)
        *out = found;
    else
        out->cancelled = found.cancelled;
    return result;
}
