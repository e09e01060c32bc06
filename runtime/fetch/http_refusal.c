#include "runtime/fetch/http_refusal.h"

#include <stdio.h>

#include "runtime/fetch/url.h"

status http_refusal(int http_status, const char *url, bool has_token, status_detail *detail)
{
    char shown[URL_SHOWN];
    url_show(url, shown);
    switch (http_status) {
    case 401:
        return status_fail(detail, STATUS_USAGE, "%s wants a token (HTTP 401): %s", shown,
                           has_token ? "the one in HF_TOKEN or the token file is not valid there"
                                     : "is the model's name right? A private or gated one needs HF_TOKEN");
    case 403:
        return status_fail(detail, STATUS_USAGE, "%s is not for %s (HTTP 403): accept the model's terms on its page with the account of HF_TOKEN",
                           shown, has_token ? "this token" : "anonymous users");
    case 404:
        return status_fail(detail, STATUS_USAGE, "%s is not there (HTTP 404): check the model's name and --revision", shown);
    default:
        if (http_status >= 300 && http_status < 400)
            return status_fail(detail, STATUS_PEER, "%s redirects to where one must not follow, or in circles (HTTP %d)", shown, http_status);
        return status_fail(detail, STATUS_PEER, "%s answers HTTP %d; is HF_ENDPOINT a hub?", shown, http_status);
    }
}

status http_gave_up(int tries, int http_status, const char *why, const char *url, status_detail *detail)
{
    char shown[URL_SHOWN], answer[32];
    snprintf(answer, sizeof answer, "HTTP %d", http_status);
    return status_fail(detail, STATUS_PEER, "gave up on %s after %d tries, the last one's end: %s; run the same command again: it goes on from here",
                       url_show(url, shown), tries, http_status >= 300 ? answer : why);
}
