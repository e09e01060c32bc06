#include "launch/chat_input.h"

const char *chat_input_prompt(chat_prompt prompt)
{
    static const char *const texts[] = {[CHAT_PROMPT_NONE] = "", [CHAT_PROMPT_FIRST] = "> ", [CHAT_PROMPT_MORE] = "| "};
    return texts[prompt];
}

chat_input_event chat_input_message(chat_input *input, bool prompts, buffer *out)
{
    chat_prompt prompt = prompts ? CHAT_PROMPT_FIRST : CHAT_PROMPT_NONE;
    buffer_clear(out);
    for (;;) {
        chat_input_event event = input->line(input, prompt, out);
        if (event == CHAT_INPUT_INTERRUPT_EMPTY && prompt == CHAT_PROMPT_MORE) return CHAT_INPUT_INTERRUPT;
        if (event != CHAT_INPUT_LINE) return event;
        if (!prompts || !out->size || out->data[out->size - 1] != '\\') break;
        out->data[out->size - 1] = '\n';
        prompt = CHAT_PROMPT_MORE;
    }
    return buffer_append(out, "", 0) ? CHAT_INPUT_LINE : CHAT_INPUT_FAILED; /* so that `data` is there even for an empty line */
}
