/* gptoss-tp serve: every rank loads its part, rank 0 answers HTTP. */
#include "launch/serve_report.h"
#include "launch/serving.h"
#include "launch/verb.h"

static status show_url(void *user, const serving_view *view, status_detail *detail)
{
    (void)user, (void)detail;
    serve_report_url(view->settings->server.host, view->port);
    return STATUS_OK;
}

static status serve_run(int argc, char **argv, verb_failure *failure)
{
    const serving_verb serve = {.begin = show_url};
    return serving_run(argc, argv, &serve, failure);
}

const verb verb_serve = {
    .name = "serve",
    .synopsis = "[CONFIG] [flags]",
    .summary = "serves the OpenAI API; start it by mpirun or srun with one rank per GPU",
    .configured = true,
    .run = serve_run,
};
