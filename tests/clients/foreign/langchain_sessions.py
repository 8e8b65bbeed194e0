"""LangChain goes on with conversations of Chorus: by previous response, conversation, session id
and header, and with its own `RunnableWithMessageHistory` over a chat history that stands in one.
Runs in a virtual environment of its own.
"""

import sys
from collections.abc import Callable, Sequence

import openai
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

BASE = sys.argv[1]
CLIENT = openai.OpenAI(base_url=f"{BASE}/v1", api_key="x", max_retries=0)
KINDS = {"user": "human", "assistant": "ai", "system": "system"}


def check(name: str, work: Callable[[], object]) -> None:
    try:
        found = work()
        print(f"PASS {name}" if found is True else f"FAIL {name}: {str(found)[:300]!r}")
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__} {str(error)[:300]!r}")


def roles(conversation: str) -> list[str]:
    return [item.role for item in CLIENT.conversations.items.list(conversation, order="asc", limit=1)]


class ConversationHistory(BaseChatMessageHistory):
    """The messages of one conversation of the server."""

    def __init__(self, conversation: str) -> None:
        self._conversation = conversation

    @property
    def messages(self) -> list[BaseMessage]:
        from langchain_core.messages.utils import convert_to_messages

        items = CLIENT.conversations.items.list(self._conversation, order="asc", limit=100)
        return convert_to_messages([(KINDS[item.role], item.content[0].text) for item in items])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        roles = {kind: role for role, kind in KINDS.items()}
        items = [{"type": "message", "role": roles[each.type], "content": each.text} for each in messages]
        CLIENT.conversations.items.create(self._conversation, items=items)

    def clear(self) -> None:
        for item in [*CLIENT.conversations.items.list(self._conversation)]:
            CLIENT.conversations.items.delete(item.id, conversation_id=self._conversation)


def chat(model: str, **options: object) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{BASE}/v1", api_key="x", max_retries=0, **options)


def session_of(reply: BaseMessage) -> str:
    return reply.response_metadata["headers"]["x-session-id"]


for model in ("glm", "chorus"):

    def previous(streamed: bool, model: str = model) -> object:
        llm = chat(model, use_responses_api=True, use_previous_response_id=True)
        history: list[BaseMessage] = [HumanMessage("How?")]
        for text in ("And?", "So?"):
            reply = None
            for piece in llm.stream(history) if streamed else [llm.invoke(history)]:
                reply = piece if reply is None else reply + piece
            history += [reply, HumanMessage(text)]
        last = llm.invoke(history)
        led = CLIENT.responses.input_items.list(last.response_metadata["id"], limit=2, order="asc")
        found = [item.role for item in led]
        return found == ["user", "assistant", "user", "assistant", "user"] or found

    def conversation(model: str = model) -> object:
        made = CLIENT.conversations.create().id
        llm = chat(model, use_responses_api=True, extra_body={"conversation": made})
        llm.invoke("How?")
        list(llm.stream("And?"))
        return roles(made) == ["user", "assistant"] * 2 or roles(made)

    def session(model: str = model) -> object:
        made = session_of(chat(model, include_response_headers=True, extra_body={"session": True}).invoke("How?"))
        chat(model, extra_body={"session_id": made}).invoke("And?")
        list(chat(model, default_headers={"X-Session-ID": made}).stream("So?"))
        return roles(made) == ["user", "assistant"] * 3 or roles(made)

    def by_runnable(model: str = model) -> object:
        made = CLIENT.conversations.create().id
        chain = RunnableWithMessageHistory(chat(model), lambda session_id: ConversationHistory(session_id))
        config = {"configurable": {"session_id": made}}
        chain.invoke([HumanMessage("How?")], config=config)
        chain.invoke([HumanMessage("And?")], config=config)
        found = roles(made)
        ConversationHistory(made).clear()
        return (found, roles(made)) == (["user", "assistant"] * 2, []) or found

    def ollama(model: str = model) -> object:
        made = session_of(chat(model, include_response_headers=True, extra_body={"session": True}).invoke("How?"))
        headers = {"verify": False, "headers": {"X-Session-ID": made}}  # reads no certificates
        ChatOllama(model=model, base_url=BASE, client_kwargs=headers).invoke("And?")
        return roles(made) == ["user", "assistant"] * 2 or roles(made)

    check(f"previous response {model}", lambda: previous(False))
    check(f"previous response streamed {model}", lambda: previous(True))
    check(f"conversation {model}", conversation)
    check(f"session {model}", session)
    check(f"message history {model}", by_runnable)
    check(f"ollama {model}", ollama)


def unknown() -> object:
    try:
        chat("glm", extra_body={"session_id": "conv_unknown"}).invoke("How?")
    except openai.NotFoundError as error:
        return error.param == "session_id" or error.param
    return "no error"


check("unknown session", unknown)
