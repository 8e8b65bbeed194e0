"""smolagents' ToolCallingAgent writes files. See `writing.py`."""

from smolagents import OpenAIModel, ToolCallingAgent, tool
from smolagents.agents import FinalAnswerStep
from writing import BASE, INSTRUCTIONS, check, write_file


def ask(model: str, streamed: bool, question: str) -> str:
    agent = ToolCallingAgent(
        tools=[tool(write_file)],
        model=OpenAIModel(model, api_base=f"{BASE}/v1", api_key="none", client_kwargs={"max_retries": 0}),
        instructions=INSTRUCTIONS,
        stream_outputs=streamed,
        max_steps=3,
        verbosity_level=0,
    )
    last = list(agent.run(question, stream=True))[-1]
    return last.output if isinstance(last, FinalAnswerStep) else ""


check({"tools": ask})
