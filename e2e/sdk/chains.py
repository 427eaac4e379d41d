"""Drives LangChain's unmodified chat models: ChatOpenAI and ChatAnthropic.

Reads BASE_URL, API_KEY, MODEL and TAG from the environment and prints one JSON
object: what a user of LangChain got, case by case. vercel.mjs does the same
with the Vercel AI SDK.
"""

import json
import os

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

BASE_URL, API_KEY, MODEL, TAG = (os.environ[name] for name in ("BASE_URL", "API_KEY", "MODEL", "TAG"))


def chat(case, **more):
    tag = TAG + "/" + case
    return ChatOpenAI(
        base_url=BASE_URL + "/v1",
        api_key=API_KEY,
        model=MODEL,
        default_headers={"x-aig-tag": tag},
        model_kwargs={"user": tag},
        **{"max_tokens": 20, "use_responses_api": False} | more,
    )


def messages(case, **more):
    tag = TAG + "/" + case
    return ChatAnthropic(
        base_url=BASE_URL,
        api_key=API_KEY,
        model=MODEL,
        default_headers={"x-aig-tag": tag},
        model_kwargs={"extra_body": {"metadata": {"user_id": tag}}},
        **{"max_tokens": 20} | more,
    )


def answer(m):
    content = m.content if isinstance(m.content, str) else "".join(b.get("text", "") for b in m.content if isinstance(b, dict))
    usage = m.usage_metadata
    return {"text": content, "input": usage["input_tokens"], "output": usage["output_tokens"]}


def stream(model):
    whole = None
    for chunk in model.stream("Hello there"):
        whole = chunk if whole is None else whole + chunk
    return answer(whole)


def failure(call):
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as e:
        body = e.body if isinstance(e.body, dict) else {}
        error = body.get("error") or body
        return {
            "class": type(e).__name__,
            "status": e.status_code,
            "message": error.get("message"),
            "type": error.get("type"),
            "metadata": error.get("metadata"),
        }
    return {"class": "none"}


print(
    json.dumps(
        {
            "chat": answer(chat("chat").invoke("Hello there")),
            "chat_stream": stream(chat("chat_stream", stream_usage=True)),
            "responses": answer(chat("responses", use_responses_api=True).invoke("Hello there")),
            "responses_stream": stream(chat("responses_stream", use_responses_api=True)),
            "messages": answer(messages("messages").invoke("Hello there")),
            "messages_stream": stream(messages("messages_stream")),
            "refused_chat": failure(lambda: chat("broke", max_tokens=5000).invoke("Hello there")),
            "refused_responses": failure(lambda: chat("broke", max_tokens=5000, use_responses_api=True).invoke("Hello there")),
            "refused_messages": failure(lambda: messages("broke", max_tokens=5000).invoke("Hello there")),
            "refused_stream": failure(lambda: stream(messages("broke", max_tokens=5000))),
        }
    )
)
