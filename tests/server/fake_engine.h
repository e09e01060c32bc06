/* An engine without a model: it says the token ids it was told to say, at the speed it was told, and remembers what was asked of it.
 * Implements runtime/engine/engine.h as far as the server uses it. */
#ifndef TESTS_SERVER_FAKE_ENGINE_H
#define TESTS_SERVER_FAKE_ENGINE_H

#include <jansson.h>

#include "runtime/engine/engine.h"

engine *fake_engine_open(int max_model_len, int32_t vocab);
void fake_engine_close(engine *e);

/* Keys, each optional: "scripts": [[ids], ...] for the sequences from now on, one after the other, the last one for all that follow;
 * "by_seed": a sequence says the script whose number is its seed instead, so that many requests can run side by side;
 * "repeat": a script begins anew at its end; "random": a seed: behind the script, and where a constraint does not allow it, every id is as likely as
 * any other that is allowed, 0: a script that is not allowed gives way to the lowest id; "ending": while random, how many draws in a hundred take the end of
 * the text if that is allowed; "memory": what each rank says of its own, {"device", "used", "total", "weights", "kv_cache"} or null; "interval_ms" between
 * two tokens; "hold": a sequence that has had so many tokens waits until the number is raised, null: none waits; what is cancelled ends nevertheless;
 * "max_queue"; "alive"; "draining" (which cuts what runs). */
void fake_engine_set(engine *e, const json_t *orders);

/* {"submitted": [...], "running": n, "refused": n}: a record per submission, with prompt, parameters, tokens given and whether it was cancelled; and how many
 * submissions found no room. */
json_t *fake_engine_report(engine *e);
void fake_engine_forget(engine *e);

#endif
