#include "runtime/engine/engine_internal.h"

static status broadcast(engine *e, size_t bytes, status_detail *detail)
{
    char *data = (char *)e->message.words;
    STATUS_TRY(world_broadcast(e->world, data, STEP_PLAN_HEAD_BYTES, detail));
    if (!e->leads) {
        STATUS_TRY(step_plan_size(data, STEP_PLAN_HEAD_BYTES, &bytes, detail));
        STATUS_TRY(step_plan_reserve(&e->message, bytes, detail));
        data = (char *)e->message.words;
    }
    if (bytes <= STEP_PLAN_HEAD_BYTES) return STATUS_OK;
    return world_broadcast(e->world, data + STEP_PLAN_HEAD_BYTES, bytes - STEP_PLAN_HEAD_BYTES, detail);
}

status engine_message_send(engine *e, status_detail *detail)
{
    STATUS_TRY(step_plan_finish(&e->message, detail));
    if (world_size(e->world) == 1) return STATUS_OK;
    if (e->parked) world_wake(e->world);
    e->parked = false;
    return broadcast(e, e->message.count * sizeof *e->message.words, detail);
}

status engine_message_send_kind(engine *e, step_plan_kind kind, status_detail *detail)
{
    step_plan_start(&e->message, kind, e->stats.steps, 0);
    return engine_message_send(e, detail);
}

status engine_message_receive(engine *e, step_plan *out, status_detail *detail)
{
    STATUS_TRY(step_plan_reserve(&e->message, STEP_PLAN_HEAD_BYTES, detail));
    STATUS_TRY(broadcast(e, 0, detail));
    return step_plan_read(e->message.words, e->message.capacity * sizeof *e->message.words, &e->limits, e->group, out, detail);
}

void engine_message_send_error(engine *e, status code, const char *text)
{
    status_detail ignored;
    if (code == STATUS_PEER) return; /* a rank is gone: the others learn it from their watch, and a broadcast may never end */
    step_plan_start(&e->message, STEP_PLAN_ERROR, e->stats.steps, 0);
    step_plan_add_error(&e->message, code, text);
    (void)engine_message_send(e, &ignored);
}
