# pydantic-ai: an agent over chat completions; it has the model call a function with the output.
import asyncio, os
from typing import Literal

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

env, scenario = os.environ, os.environ["SCENARIO"]
client = AsyncOpenAI(base_url=env["BASE_URL"] + "/v1", api_key=env["API_KEY"], default_headers={"x-aig-tag": env["TAG"]})
model = OpenAIChatModel("openai/gpt-5.5", provider=OpenAIProvider(openai_client=client))


class Verdict(BaseModel):
    verdict: Literal["seen-structured-output"]


def weather(city: str) -> str:
    return "sunny"


async def main():
    if scenario == "structured output":
        result = await Agent(model, output_type=Verdict).run(env["PROMPT"])
        print(result.output.verdict)
    elif scenario == "stream":
        async with Agent(model).run_stream(env["PROMPT"]) as result:
            parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
        assert len(parts) > 1, parts
        print("".join(parts))
    else:
        result = await Agent(model, tools=[weather] if scenario == "tool call" else []).run(env["PROMPT"])
        print(result.output)


asyncio.run(main())
