"""GGUF files: what is in them, and that llama.cpp computes the same."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra (torch)")
pytest.importorskip("tokenizers", reason="needs the train extra (tokenizers)")

import jinja2

import qcn_agent.gguf
import qcn_prompts
from qcn_agent.training import check, documents, export
from qcn_prompts import chatml

pytestmark = pytest.mark.torch


@pytest.fixture
def gguf_file(tiny_model: Any, tmp_path: Path) -> Path:
    """The tiny model in float32."""
    export.export(tiny_model, tmp_path / "tiny.gguf", file_type="f32")
    return tmp_path / "tiny.gguf"


def test_llama_cpp_computes_the_same(tiny_model: Any, gguf_file: Path) -> None:
    """Tokens are equal, and logits agree to the precision of its KV cache."""
    result = check.compare(tiny_model, gguf_file)
    assert result.same_tokens
    assert result.relative_error < check.MAX_RELATIVE_ERROR


def test_q8_0_stays_close(tiny_model: Any, gguf_file: Path, tmp_path: Path) -> None:
    """Quantised weights make a smaller file and a small error."""
    path = tmp_path / "q8.gguf"
    export.export(tiny_model, path, file_type="q8_0")
    assert path.stat().st_size < 0.75 * gguf_file.stat().st_size
    assert check.compare(tiny_model, path).relative_error < 0.1


def test_the_header_says_what_it_is(gguf_file: Path) -> None:
    """Name, licence, architecture and the prompt profile it was trained with; no sampling advice."""
    metadata = qcn_agent.gguf.read_header(gguf_file).metadata
    assert metadata["general.name"] == "qcn-mini"
    assert metadata["general.license"] == "apache-2.0"
    assert metadata["general.architecture"] == "qwen3next"
    assert metadata["qcn.prompt_profile"] == qcn_prompts.load("mini").id
    assert not [key for key in metadata if key.startswith("general.sampling")]


def test_all_weights_are_written(tiny_model: Any) -> None:
    """As many numbers leave as the model has."""
    assert sum(array.size for _, array in export.tensors(tiny_model)) == tiny_model.num_parameters()[0]


def test_a_foreign_tokenizer_is_refused(tiny_model: Any, tmp_path: Path) -> None:
    """A vocabulary of another size would shift every token."""
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": []}')
    with pytest.raises(ValueError, match="2 tokens"):
        export.export(tiny_model, tmp_path / "x.gguf", file_type="f32", tokenizer=path)


def test_the_chat_template_says_what_the_profile_says() -> None:
    """A client that renders the template itself gets the very text of the product."""
    template = jinja2.Environment().from_string(export.CHAT_TEMPLATE.read_text())
    tools = [
        {"function": {"name": name, "parameters": {"required": required}}}
        for name, required in (("read_file", ["path"]), ("edit_file", ["path", "old_string", "new_string"]))
    ] + [{"function": {"name": "run_tests", "parameters": {}}}]
    messages = [
        {"role": "system", "content": "dropped: the model knows one prompt only"},
        {"role": "user", "content": "fix it"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "read_file", "arguments": {"path": "a.py"}}}]},
        {"role": "tool", "content": "a = 1"},
    ]
    pieces = [
        *chatml.turn("system", documents.system_text()),
        *chatml.turn("user", "fix it"),
        *chatml.assistant(chatml.tool_call("read_file", {"path": "a.py"})),
        *chatml.tool_responses(["a = 1"]),
        *chatml.assistant_header(),
    ]
    rendered = template.render(messages=messages, tools=tools, add_generation_prompt=True)
    assert rendered == "".join(text for text, _ in pieces)
