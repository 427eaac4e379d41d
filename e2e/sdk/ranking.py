"""Drives the unmodified Cohere Python SDK, second version: it ranks.

Reads BASE_URL, API_KEY and TAG from the environment and prints one JSON object:
what a user of the SDK got, case by case.
"""

import json
import os

import cohere
from cohere.core.api_error import ApiError

TAG = os.environ["TAG"]


def client(key=os.environ["API_KEY"]):
    return cohere.ClientV2(api_key=key, base_url=os.environ["BASE_URL"])


def rank(case, documents, c=None, model="cohere/m1", **more):
    tag = TAG + "/" + case
    options = {"additional_headers": {"x-aig-tag": tag}, "additional_body_parameters": {"user": tag}}
    return (c or client()).rerank(model=model, query="capital", documents=documents, request_options=options, **more)


def answer(r):
    return {"text": str([x.index for x in r.results]), "output": int(r.meta.billed_units.search_units)}


def failure(call):
    try:
        call()
    except ApiError as e:
        error = e.body["error"]
        return {"class": type(e).__name__, "status": e.status_code, "message": error["message"], "type": error["type"]}
    return {"class": "none"}


cities = ["Paris", "London", "Rome"]
print(
    json.dumps(
        {
            "plain": answer(rank("plain", cities, top_n=2)),
            "long": answer(rank("long", ["long " * 900] * 101, max_tokens_per_doc=1000)),
            "refused": failure(lambda: rank("broke", ["x"] * 900)),
            "wrong_key": failure(lambda: rank("key", cities, client("sk-aig-wrong"))),
            "unknown_model": failure(lambda: rank("model", cities, model="nobody/no-such-model")),
            "bad_field": failure(lambda: rank("field", cities, top_n=-1)),
        }
    )
)
