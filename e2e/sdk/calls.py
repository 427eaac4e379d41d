"""Drives the unmodified openai-python SDK through a gateway.

Reads BASE_URL, API_KEY and MODEL from the environment and prints one JSON
object: what a user of the SDK got, case by case, and the bytes it sent.
calls.mjs does the same with openai-node.
"""

import base64
import json
import os

import openai

MODEL = os.environ["MODEL"]
sent = []  # the request bodies, in order


def record(request):
    if request.method == "POST":
        sent.append(base64.b64encode(request.read()).decode())


client = openai.OpenAI(
    base_url=os.environ["BASE_URL"] + "/v1",
    api_key=os.environ["API_KEY"],
    http_client=openai.DefaultHttpxClient(event_hooks={"request": [record]}),
)


def messages(text):
    return [{"role": "user", "content": text}]


def chat(tag, text="Hello there", c=client, model=MODEL, **more):
    return c.chat.completions.create(
        model=model, messages=messages(text), user=tag, extra_headers={"x-aig-tag": tag}, **more
    )


def plain(tag, **more):
    answer = chat(tag, **more)
    return {
        "model": answer.model,
        "texts": [c.message.content for c in answer.choices],
        "finish": answer.choices[0].finish_reason,
        "usage": {"prompt": answer.usage.prompt_tokens, "completion": answer.usage.completion_tokens},
    }


def stream(tag, **more):
    text, usage, empty, chunks = "", [], 0, 0
    for chunk in chat(tag, stream=True, **more):
        chunks += 1
        if chunk.usage:
            usage.append({"prompt": chunk.usage.prompt_tokens, "completion": chunk.usage.completion_tokens})
        if not chunk.choices:
            empty += 1
            continue
        text += chunk.choices[0].delta.content or ""
    return {"text": text, "usage": usage, "empty_chunks": empty, "chunks": chunks}


def embeddings(tag):
    answer = client.embeddings.create(
        model=MODEL, input=["one text", "and another"], user=tag, extra_headers={"x-aig-tag": tag}
    )
    return {
        "model": answer.model,
        "items": len(answer.data),
        "dimensions": len(answer.data[0].embedding),
        "usage": {"prompt": answer.usage.prompt_tokens, "completion": 0},
    }


def failure(call):
    before = len(sent)
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
            "requests": len(sent) - before,
        }
    return {"class": "none"}


results = {
    "plain": plain("sdk/plain", max_tokens=20),
    "choices": plain("sdk/choices", n=2, max_completion_tokens=20),
    "no_cap": plain("sdk/capped"),
    "unicode": plain("sdk/unicode", text='Größe "日本" \\ \u2028 😀', max_tokens=5),
    "stream": stream("sdk/stream", max_tokens=20),
    "stream_with_usage": stream("sdk/stream-usage", max_tokens=20, stream_options={"include_usage": True}),
    "embeddings": embeddings("sdk/embeddings"),
    "refused": failure(lambda: chat("sdk/broke", max_tokens=5000)),
    "refused_stream": failure(lambda: list(chat("sdk/broke", max_tokens=5000, stream=True))),
    "wrong_key": failure(lambda: chat("sdk/plain", c=client.with_options(api_key="sk-aig-wrong"))),
    "unknown_model": failure(lambda: chat("sdk/plain", model="nobody/no-such-model")),
    "bad_field": failure(lambda: chat("sdk/plain", max_tokens=-1)),
    "models": [m.id for m in client.models.list()],
}
assert client.models.retrieve("fake/m1").id == "fake/m1"
print(json.dumps({"results": results, "sent": sent}))
