/* For sanitized builds: lets the leak check tell whose code kept memory, so that tests/lsan.supp can name it. Open MPI unloads
 * its plug-ins before the check, and its libraries have no frame pointers to follow. */
int dlclose(void *module);
const char *__asan_default_options(void);

int dlclose(void *module)
{
    (void)module;
    return 0;
}

/* What stands in $ASAN_OPTIONS wins. */
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }
