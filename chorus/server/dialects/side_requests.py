"""Requests that chat applications make beside the conversation: titles, tags, follow-up questions,
completions.

They are recognised by what the applications send by default, and only where nothing speaks against
it: no tools, no results of tools, and no room for a long answer. A prompt that somebody has
rewritten is not recognised, and is answered by the workflow as any other. docs/API.md lists the
marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chorus.types import ChatRequest, Message
from chorus.wirejson import JSON

MAX_ANSWER_TOKENS: Final = 4_096
"""Open WebUI allows 1,000 tokens for a title, Claude Code 512; a request that allows more than this
is a conversation."""
_LOOKED_AT: Final = 600
"""Characters of a prompt in which its mark is looked for."""
_TASK_HEADER: Final = "### Task:"
_OPEN_WEBUI: Final[tuple[tuple[str, str], ...]] = (
    ("title", r"generate a concise, .{1,40}title"),
    ("tags", r"generate .{1,20}tags"),
    ("follow_ups", r"suggest .{1,40}follow-up"),
    ("autocomplete", r"you are an autocompletion system"),
    (
        "queries",
        r"(analyze the chat history to determine the necessity of generating search|generate .{0,20}search quer)",
    ),
    ("image_prompt", r"generate a detailed prompt for (an|am|a) image"),
    ("emoji", r"your task is to reflect the speaker's likely facial expression"),
)
"""Behind `### Task:` of Open WebUI's prompts. Its prompt for documents begins so too, and is the
conversation itself."""
_PROMPTS: Final[tuple[tuple[str, str], ...]] = (
    ("title", r"provide a concise, 5-word-or-less title for the conversation"),  # LibreChat
    # LibreChat, older
    ("title", r"detect user language and write in the same language an extremely concise title"),
    ("title", r"you are a title generator\b"),  # opencode
    (
        "title",
        r"you are an assistant skilled in conversation.{0,40} you need to summarize .{0,60}title",
    ),  # Cherry Studio
    ("title", r"summarize the given session as a .{0,30}title"),  # Cherry Studio, older
    ("title", r"analyze if this message indicates a new conversation topic"),  # Claude Code
    ("title", r"(please )?write a 5-10 word title"),  # Claude Code
    ("title", r"generate a (concise|short|brief)[^.]{0,60} title [^.]{0,40}(chat|conversation)"),
)
_TASKS: Final[Mapping[str, str]] = {
    "title_generation": "title",
    "tags_generation": "tags",
    "follow_up_generation": "follow_ups",
    "autocomplete_generation": "autocomplete",
    "query_generation": "queries",
    "image_prompt_generation": "image_prompt",
    "emoji_generation": "emoji",
}
"""Open WebUI's own words in `metadata.task`, which its filters and pipelines can pass on."""
_compiled_tasks: Final = tuple((kind, re.compile(mark)) for kind, mark in _OPEN_WEBUI)
_compiled_prompts: Final = tuple((kind, re.compile(mark)) for kind, mark in _PROMPTS)


def side_request(body: Mapping[str, JSON], request: ChatRequest) -> str | None:
    """Return what `request`, which came as `body`, asks for beside a conversation, such as "title".

    None for a conversation.
    """
    limit = request.sampling.max_tokens
    if request.tools or (limit is not None and limit > MAX_ANSWER_TOKENS):
        return None
    if any(message.tool_calls or message.role == "tool" for message in request.messages):
        return None
    metadata = body.get("metadata")
    task = metadata.get("task") if isinstance(metadata, Mapping) else None
    if isinstance(task, str) and task in _TASKS:
        return _TASKS[task]
    places = (request.messages[0], request.messages[-1])
    return next((kind for message in places if (kind := _kind(message)) is not None), None)


def _kind(message: Message) -> str | None:
    """Return what the prompt in a message of the system or the user begins with."""
    if message.role == "assistant":
        return None
    beginning = _beginning(message)
    rest = beginning.removeprefix(_TASK_HEADER)
    if rest is not beginning:
        marks, text = _compiled_tasks, rest
    else:
        marks, text = _compiled_prompts, beginning
    plain = " ".join(text.lower().split())
    return next((kind for kind, mark in marks if mark.match(plain)), None)


def _beginning(message: Message) -> str:
    """Return the first characters of its text."""
    content = message.content
    text = content if isinstance(content, str) else message.text
    return text[:_LOOKED_AT].lstrip()
