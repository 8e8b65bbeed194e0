"""Language models of 200 kB whose greedy answer is known: a Llama with one layer, made here with
the standard library alone, as a folder of safetensors and as a GGUF file.

Attention and MLP add nothing, so that the last token alone decides which one is next: after the
chat template's `<|assistant|>`, and after a colon, come `words` and the end; after a question mark
` la`, again and again.
"""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod, sqrt
from pathlib import Path

HELLO = ("Hello", " from", " the", " tiny", " model", ".")
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LAST_WORDS = "{{ messages[-1]['content'] }}"
"""A template that continues what the user wrote."""
TOOL_TEMPLATE = (
    "{% if tools %}<|system|>You may call these tools, each call as JSON between <tool_call> and </tool_call>:"
    "{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] or '' }}"
    "{% for tool_call in m['tool_calls'] or [] %}{% if tool_call.function %}{% set tool_call = tool_call.function %}"
    '{% endif %}<tool_call>\n{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A template with tools, as Qwen's models have them."""
CONTEXT = 32768

_SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
_LOOP = " la"
_HIDDEN, _INNER, _HEADS, _KV_HEADS = 64, 64, 4, 2
_ALIGNMENT = 32
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers in the order of rows."""

    shape: tuple[int, ...]
    numbers: array[float]


def _alphabet() -> list[str]:
    """The 256 bytes as characters, as GPT-2's tokenizer writes them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + number) for number in range(len(hidden))]


def _tokens(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*sorted(_alphabet()), *_SPECIAL, *words, _LOOP)))


def _weights(words: Sequence[str]) -> dict[str, Tensor]:
    tokens = _tokens(words)
    draw = random.Random(0)
    rows = []
    for _ in tokens:
        row = [draw.gauss(0, 1) for _ in range(_HIDDEN)]
        length = sqrt(sum(number * number for number in row))
        rows.append([number / length for number in row])
    head = [[0.0] * _HIDDEN for _ in tokens]
    script = ["<|assistant|>", *words, "<|end|>"]
    for before, after in [*pairwise(script), (":", words[0]), ("?", _LOOP), (_LOOP, _LOOP)]:
        place = tokens.index(after)
        head[place] = [a + 4 * b for a, b in zip(head[place], rows[tokens.index(before)], strict=True)]
    kv = _HIDDEN // _HEADS * _KV_HEADS
    layer = "model.layers.0."
    return {
        "model.embed_tokens.weight": _tensor(rows),
        "lm_head.weight": _tensor(head),
        "model.norm.weight": _same((_HIDDEN,), 1),
        f"{layer}input_layernorm.weight": _same((_HIDDEN,), 1),
        f"{layer}post_attention_layernorm.weight": _same((_HIDDEN,), 1),
        f"{layer}self_attn.q_proj.weight": _same((_HIDDEN, _HIDDEN), 0.01),
        f"{layer}self_attn.k_proj.weight": _same((kv, _HIDDEN), 0.01),
        f"{layer}self_attn.v_proj.weight": _same((kv, _HIDDEN), 0.01),
        f"{layer}self_attn.o_proj.weight": _same((_HIDDEN, _HIDDEN), 0),
        f"{layer}mlp.gate_proj.weight": _same((_INNER, _HIDDEN), 0.01),
        f"{layer}mlp.up_proj.weight": _same((_INNER, _HIDDEN), 0.01),
        f"{layer}mlp.down_proj.weight": _same((_HIDDEN, _INNER), 0),
    }


def _tensor(rows: Sequence[Sequence[float]]) -> Tensor:
    return Tensor((len(rows), len(rows[0])), array("f", [number for row in rows for number in row]))


def _same(shape: tuple[int, ...], number: float) -> Tensor:
    return Tensor(shape, array("f", [number]) * prod(shape))


# --- safetensors


def write_folder(folder: Path, words: Sequence[str] = HELLO, template: str = TEMPLATE) -> Path:
    """Write the model as a folder that mlx-lm loads, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _tokens(words)
    _write_safetensors(folder / "model.safetensors", _weights(words))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _HIDDEN,
        "num_hidden_layers": 1,
        "intermediate_size": _INNER,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "rms_norm_eps": _EPSILON,
        "vocab_size": len(tokens),
        "rope_theta": 10000.0,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "eos_token_id": tokens.index("<|end|>"),
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(tokens)))
    return folder


def _tokenizer(tokens: Sequence[str]) -> dict[str, object]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": token in _SPECIAL,
        }
        for number, token in enumerate(tokens)
        if number >= 256
    ]
    vocabulary = {token: number for number, token in enumerate(tokens[:256])}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def _write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + 4 * len(tensor.numbers)
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensor.numbers.tobytes() for tensor in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# --- GGUF

_U32, _F32, _BOOL, _STRING, _ARRAY, _I32 = 4, 6, 7, 8, 9, 5
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "lm_head.weight": "output.weight",
    "model.norm.weight": "output_norm.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, words: Sequence[str] = HELLO, template: str = TEMPLATE) -> Path:
    """Write the model as a file that llama.cpp loads, and return it."""
    tokens = _tokens(words)
    kinds = [
        _NORMAL if number < 256 else _CONTROL if token in _SPECIAL else _USER_DEFINED
        for number, token in enumerate(tokens)
    ]
    end = tokens.index("<|end|>")
    fields = [
        _text("general.architecture", "llama"),
        _text("general.name", "tiny"),
        _number("llama.context_length", CONTEXT),
        _number("llama.embedding_length", _HIDDEN),
        _number("llama.block_count", 1),
        _number("llama.feed_forward_length", _INNER),
        _number("llama.attention.head_count", _HEADS),
        _number("llama.attention.head_count_kv", _KV_HEADS),
        _number("llama.rope.dimension_count", _HIDDEN // _HEADS),
        _number("llama.vocab_size", len(tokens)),
        _key("llama.attention.layer_norm_rms_epsilon", _F32) + struct.pack("<f", _EPSILON),
        _key("llama.rope.freq_base", _F32) + struct.pack("<f", 10000.0),
        _text("tokenizer.ggml.model", "gpt2"),
        _text("tokenizer.ggml.pre", "gpt-2"),
        _array("tokenizer.ggml.tokens", _STRING, [_string(token) for token in tokens]),
        _array("tokenizer.ggml.token_type", _I32, [struct.pack("<i", kind) for kind in kinds]),
        _array("tokenizer.ggml.merges", _STRING, [_string("a b")]),
        _number("tokenizer.ggml.eos_token_id", end),
        _number("tokenizer.ggml.bos_token_id", end),
        _number("tokenizer.ggml.padding_token_id", end),
        _key("tokenizer.ggml.add_bos_token", _BOOL) + b"\0",
        _text("tokenizer.chat_template", template),
    ]
    infos, data = b"", b""
    tensors = _weights(words)
    for name, tensor in tensors.items():
        dimensions = tensor.shape[::-1]
        infos += _string(_gguf_name(name)) + struct.pack("<I", len(dimensions))
        infos += b"".join(struct.pack("<Q", size) for size in dimensions) + struct.pack("<IQ", 0, len(data))
        data += tensor.numbers.tobytes()
        data += bytes(-len(data) % _ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + infos
    path.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + data)
    return path


def _gguf_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    return f"blk.0.{_NAMES[name.removeprefix('model.layers.0.').removesuffix('.weight')]}.weight"


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _key(name: str, kind: int) -> bytes:
    return _string(name) + struct.pack("<I", kind)


def _text(name: str, value: str) -> bytes:
    return _key(name, _STRING) + _string(value)


def _number(name: str, value: int) -> bytes:
    return _key(name, _U32) + struct.pack("<I", value)


def _array(name: str, kind: int, items: Sequence[bytes]) -> bytes:
    return _key(name, _ARRAY) + struct.pack("<IQ", kind, len(items)) + b"".join(items)
