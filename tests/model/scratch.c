#define _GNU_SOURCE /* nftw */
#include "scratch.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

const char *scratch_path(const char *dir, const char *name)
{
    static char paths[4][PATH_MAX];
    static int turn;
    char *path = paths[turn++ % 4];
    assert_true(snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX);
    return path;
}

buffer scratch_read(const char *dir, const char *name)
{
    buffer out = {0};
    char chunk[65536];
    size_t n;
    FILE *file = fopen(scratch_path(dir, name), "rb");
    if (!file) fail_msg("cannot open %s/%s", dir, name);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) assert_true(buffer_append(&out, chunk, n));
    fclose(file);
    return out;
}

buffer scratch_data(const char *name)
{
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    assert_non_null(tests);
    char folder[PATH_MAX];
    assert_true(snprintf(folder, sizeof folder, "%s/data/model", tests) < PATH_MAX);
    return scratch_read(folder, name);
}

json_t *scratch_data_json(const char *name)
{
    buffer text = scratch_data(name);
    json_t *value = json_loadb(text.data, text.size, 0, NULL);
    buffer_free(&text);
    assert_non_null(value);
    return value;
}

char *scratch_make(void)
{
    char *dir = strdup("/tmp/gptoss_model_XXXXXX");
    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

void scratch_remove(char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(dir);
}

void scratch_folder(const char *dir, const char *name) { assert_int_equal(mkdir(scratch_path(dir, name), 0777), 0); }

void scratch_write(const char *dir, const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(scratch_path(dir, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void scratch_write_json(const char *dir, const char *name, const json_t *value)
{
    char *text = json_dumps(value, 0);
    assert_non_null(text);
    scratch_write(dir, name, text, strlen(text));
    free(text);
}
