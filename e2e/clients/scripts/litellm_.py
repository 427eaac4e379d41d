# LiteLLM's SDK: the same function for every provider.
import json, os
from typing import Literal

import litellm
from pydantic import BaseModel

env, scenario = os.environ, os.environ["SCENARIO"]
messages = [{"role": "user", "content": env["PROMPT"]}]
weather = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


class Verdict(BaseModel):
    verdict: Literal["seen-structured-output"]


def complete(**more):
    return litellm.completion(
        model="openai/openai/gpt-5.5", api_base=env["BASE_URL"] + "/v1", api_key=env["API_KEY"],
        extra_headers={"x-aig-tag": env["TAG"]}, messages=messages, **more,
    )


if scenario == "stream":
    parts = [c.choices[0].delta.content or "" for c in complete(stream=True) if c.choices]
    assert len(parts) > 1, parts
    print("".join(parts))
elif scenario == "tool call":
    asked = complete(tools=[weather]).choices[0].message
    assert json.loads(asked.tool_calls[0].function.arguments) == {"city": "ok"}, asked
    messages += [asked, {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"}]
    print(complete(tools=[weather]).choices[0].message.content)
elif scenario == "structured output":
    print(Verdict.model_validate_json(complete(response_format=Verdict).choices[0].message.content).verdict)
else:
    print(complete().choices[0].message.content)
