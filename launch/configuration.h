/* Command line and YAML file together: what the verbs that work on a deployment start from. */
#ifndef LAUNCH_CONFIGURATION_H
#define LAUNCH_CONFIGURATION_H

#include "launch/arguments.h"
#include "runtime/base/settings.h"
#include "runtime/model/model_config.h"

/* Reads argv: the verb's own flags into their places, the optional YAML file, then the configuration's flags over it. model.path is there
 * afterwards. Free `out` with settings_free(). argv stays as it was, and what ARGUMENT_TEXT set points into it. */
status configuration_read(int argc, char **argv, const argument *own, size_t n_own, settings *out, status_detail *detail);

enum { CONFIGURATION_MAX_PATH = 4096 };

/* The directory of model.path, and the shape of the model. Where no files are but the name is a published one and the tensors are not
 * wanted (`shape_suffices`), `dir` becomes "" and the shape is the published one. */
status configuration_locate(const settings *s, bool shape_suffices, char dir[CONFIGURATION_MAX_PATH], model_config *out,
                            status_detail *detail);

#endif
