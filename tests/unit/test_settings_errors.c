/* Every way to get a configuration wrong ends in one line that names place, key, what was found and what is allowed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/settings.h"
#include "tests/unit/cmocka_headers.h"

static status_detail detail;

static void refused(const char *text, size_t size, const char *const parts[4])
{
    settings s;
    assert_int_equal(settings_init(&s, &detail), STATUS_OK);
    detail.text[0] = '\0';
    status result = settings_read_yaml(&s, "f.yaml", text, size, &detail);
    settings_free(&s);
    if (result != STATUS_USAGE) fail_msg("not refused: %.200s", text);
    for (int i = 0; i < 4 && parts[i]; i++)
        if (!strstr(detail.text, parts[i])) fail_msg("for %.200s\nthe line \"%s\"\nlacks \"%s\"", text, detail.text, parts[i]);
    assert_null(strchr(detail.text, '\n'));
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *parts[4];
    } cases[] = {
        /* values */
        {"server:\n  port: 70000\n", {"f.yaml:2: key server.port: found '70000'", "from 0 to 65535"}},
        {"server:\n  port: eighty\n", {"f.yaml:2: key server.port: found 'eighty'", "an integer"}},
        {"server:\n  port: 80.5\n", {"key server.port: found '80.5'"}},
        {"server:\n  port: 0x50\n", {"key server.port: found '0x50'"}},
        {"server:\n  port: 99999999999999999999\n", {"key server.port: found '99999999999999999999'"}},
        {"server:\n  port: \"80\"\n", {"found '80', a text because of its quotes"}},
        {"server:\n  port:\n", {"key server.port: found nothing (null)"}},
        {"server:\n  host: ''\n", {"key server.host: found ''", "not empty"}},
        {"server:\n  host: null\n", {"key server.host: found nothing (null)"}},
        {"engine:\n  prefix_cache: yes\n", {"f.yaml:2: key engine.prefix_cache: found 'yes', allowed is true or false"}},
        {"engine:\n  kv_cache: 20 G\n", {"key engine.kv_cache: found '20 G'", "20GiB", "or auto"}},
        {"engine:\n  kv_cache: -1\n", {"key engine.kv_cache: found '-1'"}},
        {"engine:\n  max_model_len: 0\n", {"key engine.max_model_len: found '0'", "from 1", "or auto"}},
        {"engine:\n  max_sequences: auto\n", {"key engine.max_sequences: found 'auto'"}},
        {"parallel:\n  experts: dp\n", {"f.yaml:2: key parallel.experts: found 'dp', allowed is one of auto, tp, ep"}},
        {"backend: gpu\n", {"f.yaml:1: key backend: found 'gpu', allowed is one of auto, cuda, cpu"}},
        {"model: {name: [a, '']}", {"key model.name: found ''", "a list of names"}},
        {"model: {name: [a, [b]]}", {"key model.name: found a list", "a list of names"}},
        /* node kinds */
        {"server:\n  port: [1]\n", {"f.yaml:2: key server.port: found a list, allowed is an integer"}},
        {"server:\n  port: {a: b}\n", {"f.yaml:2: key server.port: found a mapping"}},
        {"server: 8000\n", {"f.yaml:1: section server: found '8000'"}},
        {"server: [1]\n", {"f.yaml:1: section server: found a list"}},
        {"backend: {a: b}\n", {"f.yaml:1: key backend: found a mapping"}},
        {"- model\n", {"f.yaml:1: found a list, allowed are sections"}},
        {"hello\n", {"f.yaml:1: found 'hello', allowed are sections"}},
        {"? [a]\n: b\n", {"f.yaml:1: found a list as a key"}},
        /* keys */
        {"server:\n  prot: 1\n", {"f.yaml:2: key 'server.prot': unknown; did you mean server.port?"}},
        {"\n\nport: 1\n", {"f.yaml:3: key 'port': unknown; did you mean server.port?"}},
        {"engine:\n  port: 1\n", {"did you mean server.port?"}},
        {"servre:\n  port: 1\n", {"f.yaml:1: key 'servre': unknown"}},
        {"model.path: x\n", {"f.yaml:1: key 'model.path': unknown"}},
        {"model:\n  zzzzzzzz: x\n", {"f.yaml:2: key 'model.zzzzzzzz': unknown; gptoss-tp --help"}},
        {"<<: {a: b}\n", {"f.yaml:1: key '<<': unknown"}},
        {"server:\n  port: 1\n  host: a\n  port: 2\n", {"f.yaml:4: key server.port: found a second time", "line 2"}},
        {"backend: cpu\nbackend: cpu\n", {"f.yaml:2: key backend: found a second time", "line 1"}},
        {"log:\n  level: info\nlog:\n  format: json\n", {"f.yaml:3: section log: found a second time", "line 1"}},
        {"log:\nlog:\n", {"f.yaml:2: section log: found a second time"}},
        /* YAML itself */
        {"model: &a\n  path: x\n", {"f.yaml:1: found the anchor 'a'"}},
        {"model:\n  path: *a\n", {"f.yaml:2: found the alias 'a'"}},
        {"a: &a [x, x]\nb: &b [*a, *a, *a, *a]\n", {"unknown"}},
        {"model:\n  path: !!str x\n", {"f.yaml:2: found the tag"}},
        {"log: {}\n---\nlog: {}\n", {"f.yaml:2: found a second document"}},
        {"server:\n\tport: 1\n", {"f.yaml:2: not valid YAML"}},
        {"server:\n  host: 'a\n", {"not valid YAML", "quoted scalar"}},
        {"server: {port: 1\n", {"not valid YAML"}},
        {"server:\n  host: a: b\n", {"f.yaml:2: not valid YAML"}},
        {"server:\n  host: \"\\0\"\n", {"f.yaml:2: found a NUL character"}},
        {"server:\n  host: \"a\\nb\"\n  port: x\n", {"f.yaml:3: key server.port"}},
        {"server:\n  port: \"a\\nb\"\n", {"found 'a?b'"}},
        {"# fine\nserver:\n  host: \xff\n", {"f.yaml:3: found bytes that are not UTF-8"}},
        {"server:\n  host: \xc3\x28\n", {"f.yaml:2: found bytes that are not UTF-8"}},
        {"\xff\xfe" "a", {"f.yaml:1: found bytes that are not UTF-8"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refused(cases[i].text, strlen(cases[i].text), cases[i].parts);
}

/* Deep nesting must cost neither stack nor time. */
static void test_deep_nesting(void **state)
{
    (void)state;
    size_t size = 1000000;
    char *text = malloc(size);
    assert_non_null(text);
    const char *const list[4] = {"f.yaml:1: "};
    memset(text, '[', size);
    refused(text, size, list);
    memset(text, '{', size);
    refused(text, size, list);
    for (size_t i = 0; i < size; i += 2) memcpy(text + i, "- ", 2);
    refused(text, size, list);
    for (size_t i = 0; i < size; i += 2) memcpy(text + i, "? ", 2);
    refused(text, size, list);
    memcpy(text, "model: {name: ", 14);
    memset(text + 14, '[', size - 14);
    refused(text, size, list);
    free(text);
}

static void test_too_large(void **state)
{
    (void)state;
    size_t size = (1 << 20) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '#', size);
    const char *const parts[4] = {"f.yaml: found 1048577 bytes"};
    refused(text, size, parts);
    free(text);
}

static void test_long_and_strange_values_are_cut(void **state)
{
    (void)state;
    char text[4096] = "backend: ";
    for (int i = 0; i < 1000; i++) strcat(text, "\xc3\xa9");
    const char *const parts[4] = {"...', allowed is one of"};
    refused(text, strlen(text), parts);
    assert_true(strlen(detail.text) < 250);
    assert_non_null(strstr(detail.text, "\xc3\xa9...'")); /* not cut inside a character */
}

static void refused_flags(int argc, char **argv, const char *part)
{
    settings s;
    assert_int_equal(settings_init(&s, &detail), STATUS_OK);
    status result = settings_take_flags(&s, &argc, argv, &detail);
    settings_free(&s);
    assert_int_equal(result, STATUS_USAGE);
    if (!strstr(detail.text, part)) fail_msg("\"%s\" lacks \"%s\"", detail.text, part);
}

static void test_flags(void **state)
{
    (void)state;
    refused_flags(3, (char *[]){"p", "--port", "x"}, "--port: found 'x', allowed is an integer from 0 to 65535");
    refused_flags(2, (char *[]){"p", "--port"}, "--port needs a value");
    refused_flags(4, (char *[]){"p", "--port", "--host", "x"}, "--port needs a value");
    refused_flags(2, (char *[]){"p", "--port="}, "--port: found nothing");
    refused_flags(3, (char *[]){"p", "--set", "server.port"}, "--set: found 'server.port', allowed is section.key=value");
    refused_flags(3, (char *[]){"p", "--set", "=1"}, "--set: found '=1'");
    refused_flags(3, (char *[]){"p", "--set", "server.prt=1"}, "--set: unknown key 'server.prt'; did you mean server.port?");
    refused_flags(3, (char *[]){"p", "--set", "log.level=loud"}, "--set log.level: found 'loud', allowed is one of error");
    refused_flags(3, (char *[]){"p", "--served-model-name", "a,,b"}, "--served-model-name: found nothing");
    assert_string_equal(settings_nearest_flag("--prot"), "--port");
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    settings s;
    assert_int_equal(settings_init(&s, &detail), STATUS_OK);
    assert_int_equal(settings_read_file(&s, "/nowhere/x.yaml", &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "/nowhere/x.yaml: cannot open"));
    settings_free(&s);
}

static void refused_file(const char *path, const char *found)
{
    settings s;
    char wanted[256];
    assert_int_equal(settings_init(&s, &detail), STATUS_OK);
    snprintf(wanted, sizeof wanted, "%s: found %s, allowed is a regular file", path, found);
    alarm(20); /* waiting for a writer would be for ever */
    assert_int_equal(settings_read_file(&s, path, &detail), STATUS_USAGE);
    alarm(0);
    if (!strstr(detail.text, wanted)) fail_msg("\"%s\" lacks \"%s\"", detail.text, wanted);
    settings_free(&s);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/settingsXXXXXX", fifo[64], link[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(folder));
    snprintf(fifo, sizeof fifo, "%s/fifo.yaml", folder);
    snprintf(link, sizeof link, "%s/link.yaml", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket.yaml", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(mkfifo(fifo, 0600) == 0 && symlink(fifo, link) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    refused_file(folder, "a directory");
    refused_file(fifo, "a FIFO");
    refused_file(link, "a FIFO");
    refused_file(address.sun_path, "a socket");
    refused_file("/dev/zero", "a device");
    refused_file("/dev/null", "a device");
    close(fd);
    assert_true(unlink(fifo) == 0 && unlink(link) == 0 && unlink(address.sun_path) == 0 && rmdir(folder) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_long_and_strange_values_are_cut),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
