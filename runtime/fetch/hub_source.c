/* Hugging Face: huggingface/huggingface_hub `hf_api.py`, `file_download.py`. ModelScope: modelscope/modelscope `hub/api.py`,
 * `hub/file_download.py`; it carries openai/gpt-oss-* as openai-mirror/gpt-oss-*. */
#include "runtime/fetch/hub_source.h"

#include <string.h>

#include "runtime/fetch/url.h"

static bool append_repository(const hub_source *s, const hub_place *place, buffer *out)
{
    const char *name = place->repository;
    size_t owner = s->owner[0] ? strlen(s->owner[0]) : 0;
    if (owner && strncmp(name, s->owner[0], owner) == 0 && name[owner] == '/') {
        if (!buffer_append_text(out, s->owner[1])) return false;
        name += owner;
    }
    return url_append_escaped(out, name, "/");
}

static bool huggingface_commit(const hub_source *s, const hub_place *place, buffer *out)
{
    return buffer_printf(out, "%s/api/models/", place->endpoint) && append_repository(s, place, out) && buffer_append_text(out, "/revision/") &&
           url_append_escaped(out, place->revision, "");
}

static bool huggingface_listing(const hub_source *s, const hub_place *place, buffer *out)
{
    return buffer_printf(out, "%s/api/models/", place->endpoint) && append_repository(s, place, out) && buffer_append_text(out, "/tree/") &&
           url_append_escaped(out, place->revision, "") && buffer_append_text(out, "?recursive=true");
}

static bool huggingface_file(const hub_source *s, const hub_place *place, const char *path, buffer *out)
{
    return buffer_printf(out, "%s/", place->endpoint) && append_repository(s, place, out) && buffer_append_text(out, "/resolve/") &&
           url_append_escaped(out, place->revision, "") && buffer_append_text(out, "/") && url_append_escaped(out, path, "/");
}

static bool modelscope_listing(const hub_source *s, const hub_place *place, buffer *out)
{
    return buffer_printf(out, "%s/api/v1/models/", place->endpoint) && append_repository(s, place, out) &&
           buffer_append_text(out, "/repo/files?Revision=") && url_append_escaped(out, place->revision, "") &&
           buffer_append_text(out, "&Recursive=true");
}

static bool modelscope_file(const hub_source *s, const hub_place *place, const char *path, buffer *out)
{
    return buffer_printf(out, "%s/api/v1/models/", place->endpoint) && append_repository(s, place, out) &&
           buffer_append_text(out, "/repo?Revision=") && url_append_escaped(out, place->revision, "") &&
           buffer_append_text(out, "&FilePath=") && url_append_escaped(out, path, "");
}

static const hub_source sources[] = {
    {
        .name = "huggingface",
        .endpoint_variable = "HF_ENDPOINT",
        .endpoint = "https://huggingface.co",
        .default_branch = "main",
        .token_variables = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"},
        .token_file = true,
        .owner = {NULL, NULL},
        .commit_url = huggingface_commit,
        .listing_url = huggingface_listing,
        .file_url = huggingface_file,
        .add_page = hub_listing_add_huggingface,
    },
    {
        .name = "modelscope",
        .endpoint_variable = "MODELSCOPE_ENDPOINT",
        .endpoint = "https://www.modelscope.cn",
        .default_branch = "master",
        .token_variables = {"MODELSCOPE_API_TOKEN", NULL},
        .token_file = false,
        .owner = {"openai", "openai-mirror"},
        .commit_url = NULL,
        .listing_url = modelscope_listing,
        .file_url = modelscope_file,
        .add_page = hub_listing_add_modelscope,
    },
};

const hub_source *hub_source_find(const char *name)
{
    if (!name) return &sources[0];
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (strcmp(sources[i].name, name) == 0) return &sources[i];
    return NULL;
}

const char *hub_source_names(void) { return "huggingface|modelscope"; }
