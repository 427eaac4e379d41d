"""Drives the unmodified Anthropic Python SDK into the gateway's errors.

Reads BASE_URL, API_KEY and CASES from the environment: a JSON object of case
to {model, tag, bytes}. Prints what the SDK raised, case by case.
"""

import json
import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)


def failure(model, tag, bytes=5, max_tokens=20):
    try:
        client.messages.create(
            model=model,
            max_tokens=max_tokens,
            messages=[{"role": "user", "content": "x" * bytes}],
            extra_headers={"x-aig-tag": tag},
        )
    except anthropic.APIStatusError as e:
        error = (e.body or {}).get("error") or {}
        return {"class": type(e).__name__, "status": e.status_code, "type": error.get("type"), "message": error.get("message")}
    return {"class": "none"}


print(json.dumps({name: failure(**case) for name, case in json.loads(os.environ["CASES"]).items()}))
