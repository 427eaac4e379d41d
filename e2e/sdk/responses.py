"""Drives the responses API of the unmodified openai-python SDK.

Reads BASE_URL, API_KEY, MODEL and TAG from the environment and prints one JSON
object: what a user of the SDK got, case by case. responses.mjs does the same
with openai-node.
"""

import base64
import json
import os
import pathlib

import openai

MODEL, TAG = os.environ["MODEL"], os.environ["TAG"]
client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key=os.environ["API_KEY"])


def create(case, text="Hello there", c=client, model=MODEL, **more):
    tag = TAG + "/" + case
    return c.responses.create(model=model, input=text, user=tag, extra_headers={"x-aig-tag": tag}, **more)


def answer(r):
    return {
        "model": r.model,
        "text": r.output_text,
        "finish": r.status,
        "input": r.usage.input_tokens,
        "output": r.usage.output_tokens,
        "cached": r.usage.input_tokens_details.cached_tokens,
        "items": [item.type for item in r.output],
    }


def stream(case, text="Hello there", **more):
    events, deltas, last = [], "", None
    for event in create(case, text, stream=True, **more):
        events.append(event.type)
        if event.type == "response.output_text.delta":
            deltas += event.delta
        last = event
    got = answer(last.response)
    assert got["text"] == deltas, (got["text"], deltas)
    return got | {"events": sorted(set(events))}


def helper(case):
    """The SDK's own accumulator, which checks the order of the events."""
    tag = TAG + "/" + case
    with client.responses.stream(
        model=MODEL, input="Hello there", max_output_tokens=20, extra_body={"user": tag}, extra_headers={"x-aig-tag": tag}
    ) as s:
        for _ in s:
            pass
        return answer(s.get_final_response())


def failure(call):
    try:
        call()
    except openai.APIStatusError as e:
        body = e.body if isinstance(e.body, dict) else {}
        return {
            "class": type(e).__name__,
            "status": e.status_code,
            "message": e.message,
            "type": e.type,
            "metadata": body.get("metadata"),
        }
    return {"class": "none"}


def by_id():
    """A stored response is had, and ended, with the key that made it."""
    made = create("by_id", max_output_tokens=9)
    assert client.responses.retrieve(made.id).id == made.id
    client.responses.delete(made.id)
    try:
        client.responses.retrieve("resp_of_nobody")
    except openai.NotFoundError:
        return
    raise AssertionError("a response that nobody made")


def document():
    """Three pages of a PDF as another program wrote it, and a question."""
    pdf = pathlib.Path(__file__).parents[2] / "pricing/testdata/pdf/fpdf2.pdf"
    data = "data:application/pdf;base64," + base64.b64encode(pdf.read_bytes()).decode()
    file, question = {"type": "input_file", "filename": "a.pdf", "file_data": data}, {"type": "input_text", "text": "What is in it?"}
    return [{"role": "user", "content": [file, question]}]


by_id()
search = [{"type": "web_search"}]
print(
    json.dumps(
        {
            "plain": answer(create("plain", max_output_tokens=20)),
            "no_cap": answer(create("no_cap")),
            "unicode": answer(create("unicode", 'Größe "日本" \\ \u2028 😀', instructions="Be brief. 😀", max_output_tokens=9)),
            "stream": stream("stream", max_output_tokens=20),
            "stream_full": stream("stream_full", "fault:out=12 cached=2 reasoning=5", max_output_tokens=50),
            "stream_cut_short": stream("stream_cut_short", "fault:out=99", max_output_tokens=7),
            "helper": helper("helper"),
            "search": answer(create("search", "fault:out=9 searches=2", tools=search, max_tool_calls=3, max_output_tokens=50)),
            "document": answer(create("document", document(), max_output_tokens=20)),
            "refused": failure(lambda: create("broke", max_output_tokens=5000)),
            "refused_stream": failure(lambda: list(create("broke", max_output_tokens=5000, stream=True))),
            "wrong_key": failure(lambda: create("key", c=client.with_options(api_key="sk-aig-wrong"), max_output_tokens=9)),
            "unknown_model": failure(lambda: create("model", model="nobody/no-such-model", max_output_tokens=9)),
            "bad_field": failure(lambda: create("field", max_output_tokens=-1)),
        }
    )
)
