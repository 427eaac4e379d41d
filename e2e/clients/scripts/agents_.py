# openai-agents: an agent over chat completions, and over responses when it streams.
import asyncio, os
from typing import Literal

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI
from pydantic import BaseModel

env, scenario = os.environ, os.environ["SCENARIO"]
client = AsyncOpenAI(base_url=env["BASE_URL"] + "/v1", api_key=env["API_KEY"], default_headers={"x-aig-tag": env["TAG"]})


@function_tool
def weather(city: str) -> str:
    return "sunny"


class Verdict(BaseModel):
    verdict: Literal["seen-structured-output"]


async def main():
    kind = OpenAIResponsesModel if scenario in ("stream", "tool call") else OpenAIChatCompletionsModel
    agent = Agent(
        name="a", model=kind("openai/gpt-5.5", client),
        tools=[weather] if scenario == "tool call" else [],
        output_type=Verdict if scenario == "structured output" else None,
    )
    if scenario == "stream":
        result = Runner.run_streamed(agent, env["PROMPT"])
        parts = [e.data.delta async for e in result.stream_events() if e.type == "raw_response_event" and e.data.type == "response.output_text.delta"]
        assert len(parts) > 1, parts
        print("".join(parts))
        return
    result = await Runner.run(agent, env["PROMPT"])
    print(result.final_output.verdict if scenario == "structured output" else result.final_output)


asyncio.run(main())
