/* Log-probabilities in the two forms of the API. */
#ifndef RUNTIME_SERVER_LOGPROBS_H
#define RUNTIME_SERVER_LOGPROBS_H

#include "kernels/ops.h"
#include "runtime/server/json_write.h"
#include "runtime/text/tokenizer.h"

/* How tokens are spelled: their text (broken UTF-8 repaired), or "token_id:N". */
typedef struct logprobs_style {
    const tokenizer *tokenizer;
    bool as_ids;
} logprobs_style;

/* Chat: appends one {token, logprob, bytes, top_logprobs} to a comma-separated list. `bytes` are the token's own, also where they are no
 * whole character. */
void logprobs_write_chat(const logprobs_style *style, const ops_token *token, json_writer *list);

/* prompt_logprobs, in both APIs: appends what the prompt's next token, from the second on, has to a comma-separated list: {"id": {"logprob", "rank",
 * "decoded_token"}, ...} of the token itself and of the `wanted` best. Ranks count from 1. */
void logprobs_add_prompt(const logprobs_style *style, const ops_token *token, int wanted, json_writer *list);

/* Completions: four parallel lists. */
typedef struct logprobs_lists {
    json_writer tokens, values, top, offsets;
} logprobs_lists;

/* Appends a token. `offset`: characters of text before it. `wanted`: top log-probabilities asked for; the token itself is added to them
 * when it is not among them. `scored` false: the first token of a prompt, which has no probability. */
void logprobs_add(const logprobs_style *style, const ops_token *token, bool scored, int wanted, size_t offset, logprobs_lists *lists);
/* {"text_offset", "token_logprobs", "tokens", "top_logprobs"}; then empties the lists. */
void logprobs_take(logprobs_lists *lists, json_writer *out);
void logprobs_free(logprobs_lists *lists);

#endif
