"""Drives the unmodified Anthropic Python SDK.

Reads BASE_URL, API_KEY, MODEL and TAG from the environment and prints one JSON
object: what a user of the SDK got, case by case. messages.mjs does the same
with Anthropic's Node SDK.
"""

import base64
import json
import os
import pathlib

import anthropic

MODEL, TAG = os.environ["MODEL"], os.environ["TAG"]
client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])


def arguments(case, text="Hello there", model=MODEL, max_tokens=20, **more):
    tag = TAG + "/" + case
    return {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": text}],
        "metadata": {"user_id": tag},
        "extra_headers": {"x-aig-tag": tag},
    } | more


def answer(m):
    return {
        "model": m.model,
        "text": "".join(b.text for b in m.content if b.type == "text"),
        "finish": m.stop_reason,
        "input": m.usage.input_tokens + (m.usage.cache_read_input_tokens or 0) + (m.usage.cache_creation_input_tokens or 0),
        "output": m.usage.output_tokens,
        "cached": m.usage.cache_read_input_tokens or 0,
        "items": [b.type for b in m.content],
    }


def create(case, *text, c=client, **more):
    return answer(c.messages.create(**arguments(case, *text, **more)))


def stream(case, *text, **more):
    """The SDK's own accumulator."""
    deltas = ""
    with client.messages.stream(**arguments(case, *text, **more)) as s:
        for piece in s.text_stream:
            deltas += piece
        got = answer(s.get_final_message())
    assert got["text"] == deltas, (got["text"], deltas)
    return got


def raw(case, *text, **more):
    events = {event.type for event in client.messages.create(stream=True, **arguments(case, *text, **more))}
    return {"events": sorted(events)}


def failure(call):
    try:
        call()
    except anthropic.APIStatusError as e:
        body = e.body if isinstance(e.body, dict) else {}
        error = body.get("error") or {}
        return {
            "class": type(e).__name__,
            "status": e.status_code,
            "message": error.get("message"),
            "type": error.get("type"),
            "metadata": error.get("metadata"),
        }
    return {"class": "none"}


def cached(ttl):
    return [{"type": "text", "text": "You are terse. " * 20, "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def models():
    """Anthropic's own list, and one of it by its id."""
    ids = [m.id for m in client.models.list(limit=1000)]
    assert MODEL in ids and client.models.retrieve(MODEL).type == "model", ids


def document():
    """Three pages of a PDF as another program wrote it, and a question."""
    pdf = pathlib.Path(__file__).parents[2] / "pricing/testdata/pdf/fpdf2.pdf"
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.standard_b64encode(pdf.read_bytes()).decode()}
    return [{"type": "document", "source": source, "title": "a.pdf"}, {"type": "text", "text": "What is in it?"}]


models()
search = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
wrong = client.with_options(api_key="sk-aig-wrong")
print(
    json.dumps(
        {
            "plain": create("plain"),
            "unicode": create("unicode", 'Größe "日本" \\ \u2028 😀', system="Be brief. 😀"),
            "cache": create("cache", "fault:out=9 cached=20 written=30 written_long=10", system=cached("1h")),
            "stream": stream("stream"),
            "stream_full": stream(
                "stream_full", "fault:out=12 cached=7 written=20 reasoning=5", system=cached("5m"), max_tokens=50
            ),
            "stream_cut_short": stream("stream_cut_short", "fault:out=99", max_tokens=7),
            "raw": raw("raw"),
            "search": create("search", "fault:out=9 searches=2", tools=search, max_tokens=50),
            "document": create("document", document(), model="full/reader"),
            "refused": failure(lambda: create("broke", max_tokens=5000)),
            "refused_stream": failure(lambda: stream("broke", max_tokens=5000)),
            "wrong_key": failure(lambda: create("key", c=wrong)),
            "unknown_model": failure(lambda: create("model", model="nobody/no-such-model")),
            "bad_field": failure(lambda: create("field", max_tokens=-1)),
        }
    )
)
