"""The order of the events of a streamed response, and that they add up to the response they end with."""

FINAL = {"response.completed": ("completed",), "response.incomplete": ("incomplete", "cancelled"), "response.failed": ("failed",)}
TEXTS = {"reasoning": "response.reasoning_text", "message": "response.output_text", "function_call": "response.function_call_arguments"}
PARTS = {"reasoning": "reasoning_text", "message": "output_text"}


def check_order(events):
    """Checks a whole stream; returns the final response."""
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    head = [e["type"] for e in events[:3] if not e["type"].startswith("response.output_item")]
    assert head[:2] in (["response.created", "response.in_progress"], ["response.created", "response.queued"])
    states = [e for e in events if "response" in e]
    assert len({e["response"]["id"] for e in states}) == 1 and all(e["response"]["object"] == "response" for e in states)
    last = events[-1]
    assert last["type"] in FINAL and last["response"]["status"] in FINAL[last["type"]]
    assert not any(e["type"] in FINAL for e in events[:-1])
    middle = [e for e in events[:-1] if "response" not in e]
    output = last["response"]["output"]
    at = 0
    for index in range(len(output)):
        at = check_item(middle, at, index, output[index], finished=last["type"] in ("response.completed", "response.incomplete"))
    assert at == len(middle), middle[at:]
    return last["response"]


def check_item(events, at, index, item, finished):
    """The events of one item, from events[at] on; returns where they end. A failed or cancelled response may break off inside one."""
    kind = item["type"]
    text = item["arguments"] if kind == "function_call" else "".join(p["text"] for p in item["content"])
    begun = dict(item, status="in_progress", **({"arguments": ""} if kind == "function_call" else {"content": []}))
    assert events[at] == {"type": "response.output_item.added", "sequence_number": events[at]["sequence_number"], "output_index": index, "item": begun}
    at += 1
    if kind in PARTS:
        assert inside(events[at], "response.content_part.added", item, index)["part"] == dict(item["content"][0], text="", **empty_logprobs(kind))
        at += 1
    said = ""
    while at < len(events) and events[at]["type"] == TEXTS[kind] + ".delta":
        delta = inside(events[at], TEXTS[kind] + ".delta", item, index)["delta"]
        assert delta
        said += delta
        at += 1
    assert said == text
    if not finished and at == len(events):
        assert item["status"] == "incomplete"
        return at
    done = inside(events[at], TEXTS[kind] + ".done", item, index)
    at += 1
    if kind == "function_call":
        assert done["arguments"] == text and done["name"] == item["name"]
    else:
        assert done["text"] == text
        assert inside(events[at], "response.content_part.done", item, index)["part"] == item["content"][0]
        at += 1
    assert events[at]["type"] == "response.output_item.done" and events[at]["output_index"] == index and events[at]["item"] == item
    return at + 1


def empty_logprobs(kind):
    return {"logprobs": []} if kind == "message" else {}


def inside(event, kind, item, index):
    assert event["type"] == kind and event["item_id"] == item["id"] and event["output_index"] == index, event
    assert (event["content_index"] == 0) if item["type"] in PARTS else ("content_index" not in event)
    return event
