#include "runtime/grammar/string_format.h"

#include <stddef.h>
#include <string.h>

/* RFC 3339 with the days that a month has; year 0000 is left out, which many libraries refuse. */
#define YEAR "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define LEAP_YEAR "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define LONG_MONTH_DAY "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
#define SHORT_MONTH_DAY "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
#define FEBRUARY_DAY "02-(?:0[1-9]|1[0-9]|2[0-8])"
#define DATE "(?:" YEAR "-(?:" LONG_MONTH_DAY "|" SHORT_MONTH_DAY "|" FEBRUARY_DAY ")|" LEAP_YEAR "-02-29)"
#define HOUR_MINUTE "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME HOUR_MINUTE ":[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-]" HOUR_MINUTE ")"

/* RFC 3339, appendix A. */
#define NUMBER "[0-9]{1,9}"
#define DAYS NUMBER "D"
#define MONTHS NUMBER "M(?:" DAYS ")?"
#define YEARS NUMBER "Y(?:" MONTHS ")?"
#define SECONDS NUMBER "S"
#define MINUTES NUMBER "M(?:" SECONDS ")?"
#define HOURS NUMBER "H(?:" MINUTES ")?"
#define CLOCK "T(?:" HOURS "|" MINUTES "|" SECONDS ")"
#define DURATION "P(?:" NUMBER "W|(?:" YEARS "|" MONTHS "|" DAYS ")(?:" CLOCK ")?|" CLOCK ")"

/* RFC 1123: labels of up to 63 characters, 253 together. Regular expressions cannot add, so four long labels or twelve
 * short ones. */
#define LABEL(most) "[A-Za-z0-9](?:[A-Za-z0-9-]{0," most "}[A-Za-z0-9])?"
#define HOSTNAME "(?:" LABEL("59") "(?:\\." LABEL("61") "){0,3}|" LABEL("18") "(?:\\." LABEL("18") "){4,11})"
#define ANY_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
#define SHORT_HOSTNAME ANY_LABEL "(?:\\." ANY_LABEL ")*"

/* RFC 5321: a dot-string of up to 64 characters at a domain name, 254 together. */
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
#define EMAIL ATOM "{1,20}(?:\\." ATOM "{1,20}){0,2}@" LABEL("59") "(?:\\." LABEL("61") "){0,2}"
#define SHORT_EMAIL ATOM "+(?:\\." ATOM "+)*@" SHORT_HOSTNAME

#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
/* RFC 3986, IPv6address. */
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                           \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 "|(?:(?:" H16            \
    ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16      \
    ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16   \
    "|(?:(?:" H16 ":){0,6}" H16 ")?::)"

#define HEX "[0-9A-Fa-f]"
#define UUID_OF(version, variant) HEX "{8}-" HEX "{4}-" version HEX "{3}-" variant HEX "{3}-" HEX "{12}"
#define VARIANT "[89ABab]"

/* RFC 3986, with a scheme. */
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%" HEX HEX ")"
#define HOST "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%" HEX HEX ")*"
#define USER "(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%" HEX HEX ")*@)?"
#define AUTHORITY USER "(?:\\[" IPV6 "\\]|" HOST ")(?::[0-9]{0,5})?"
#define PATH "(?:/" PCHAR "*)*"
#define URI                                                                                                            \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://" AUTHORITY PATH "|/(?:" PCHAR "+" PATH ")?|" PCHAR "+" PATH ")(?:\\?(?:" PCHAR      \
    "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"

static const string_format formats[] = {
    {"date", DATE, NULL, 0},
    {"time", TIME, NULL, 0},
    {"date-time", DATE "T" TIME, NULL, 0},
    {"duration", DURATION, NULL, 0},
    {"email", EMAIL, SHORT_EMAIL, 252},
    {"hostname", HOSTNAME, SHORT_HOSTNAME, 253},
    {"ipv4", IPV4, NULL, 0},
    {"ipv6", IPV6, NULL, 0},
    {"uri", URI, NULL, 0},
    {"uuid", UUID_OF(HEX, HEX), NULL, 0},
    {"uuid1", UUID_OF("1", VARIANT), NULL, 0},
    {"uuid3", UUID_OF("3", VARIANT), NULL, 0},
    {"uuid4", UUID_OF("4", VARIANT), NULL, 0},
    {"uuid5", UUID_OF("5", VARIANT), NULL, 0},
    /* Of OpenAPI and pydantic: what the string is for, not what it looks like. */
    {"password", NULL, NULL, 0},
    {"binary", NULL, NULL, 0},
    {"path", NULL, NULL, 0},
    {"file-path", NULL, NULL, 0},
    {"directory-path", NULL, NULL, 0},
};

const string_format *string_format_find(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

const char *string_format_names(void)
{
    return "date, time, date-time, duration, email, hostname, ipv4, ipv6, uri, uuid, uuid1, uuid3, uuid4, uuid5, "
           "password, binary, path, "
           "file-path, directory-path";
}
