"""Settings: frozen dataclasses filled from flags > environment > project file > user file > defaults.

A section is a dataclass, a key is a field; its `metadata` carries help, range and whether a cloned repository may set
it.
Environment variables are `QCN_<SECTION>_<KEY>`, e.g. `QCN_MODEL_N_CTX=65536`.
"""

import dataclasses
import os
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcn_agent.errors import ConfigError

PROJECT_FILE = "qcn-agent.toml"
KV_TYPES = ("f16", "q8_0", "q4_0")
ISOLATIONS = ("off", "process")
CONTEXTS = ("shared", "own")
LAYOUTS = ("auto", "psm", "spm")
MULTILINE = ("auto", "never", "always")
SPECULATION = ("auto", "on", "off")


def _key(
    default: Any,
    help_: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    safe: bool = False,
    is_path: bool = False,
) -> Any:
    """A setting. `safe` marks keys that a project file, which may come with a cloned repository, is allowed to set.

    `is_path` marks file names: they become absolute, seen from the folder of their file, else from the current one.
    """
    meta = {"help": help_, "low": low, "high": high, "choices": choices, "safe": safe, "is_path": is_path}
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class ModelConfig:
    """[model]: which GGUF, and how it is laid out over the devices. Names follow llama.cpp."""

    path: str = _key("", "GGUF file; the first part of a split one. Empty: the embedded qcn-mini", is_path=True)
    n_ctx: int = _key(0, "context window in tokens; 0: the smaller of the model's own and 32768", low=0, high=1 << 20)
    n_threads: int = _key(0, "CPU threads; 0: one per core, fewer for a small model", low=0, high=1024)
    gpu_layers: int = _key(-1, "layers on the GPU; -1: all that the build can use", low=-1, high=1000)
    n_cpu_moe: int = _key(0, "keep the experts of the first N layers in RAM", low=0, high=1000)
    override_tensor: tuple[str, ...] = _key((), "PATTERN=BUFFER placements, e.g. 'blk\\..*_exps=CPU'")
    tensor_split: tuple[float, ...] = _key((), "share of each GPU, e.g. [1, 1] for two equal cards")
    kv_type: str = _key("f16", "type of the KV cache", choices=KV_TYPES)
    flash_attention: bool = _key(True, "flash attention; off only where a backend lacks it")
    n_ubatch: int = _key(512, "tokens of one prefill call", low=16, high=8192)
    mmap: bool = _key(True, "map the file instead of reading it")
    max_states: int = _key(
        16,
        "recurrent states kept on the device (75 MiB each for the 80B model): conversations and points",
        low=4,
        high=192,
    )
    host_cache_mb: int = _key(
        -1, "MiB of RAM for what left the device; -1: a tenth of the free RAM", low=-1, high=1 << 22
    )
    disk_cache_mb: int = _key(
        4096,
        "MiB of disk for conversations that survive the daemon (they get there by way of host memory); 0: none",
        low=0,
        high=1 << 24,
    )


@dataclass(frozen=True)
class CompletionConfig:
    """[completion]: what makes inline completions, and how long that may take."""

    model: str = _key("", "GGUF file of a second, small model for completions; empty: the agent's model", is_path=True)
    context: str = _key(
        "shared",
        "shared: completions use the agent's KV cache; own: one beside it, over the same weights, where memory allows "
        "(a second model always has its own)",
        choices=CONTEXTS,
    )
    n_ctx: int = _key(8192, "tokens of the completions' own context", low=512, high=1 << 18)
    enabled: bool = _key(True, "whether completions are made at all")
    answer_ms: float = _key(
        0.0, "the answer is due so long after the debounce; 0: 350, or 600 with experts in RAM", low=0, high=60_000
    )
    budget_ms: float = _key(0.0, "the first token is due after so long; 0: 2/3 of answer_ms", low=0, high=60_000)
    hard_ms: float = _key(900.0, "what is not there after so long is not shown", low=10, high=600_000)
    debounce_ms: float = _key(-1.0, "wait after a key; -1: by the pace of typing", low=-1, high=60_000)
    max_tokens: int = _key(0, "longest answer; 0: 48 for a line, 160 for a block, 256 when asked for", low=0, high=4096)
    layout: str = _key("auto", "order of a prompt; spm keeps what follows the cursor cached", choices=LAYOUTS)
    multiline: str = _key("auto", "whether more than a line is offered", choices=MULTILINE, safe=True)
    languages: tuple[str, ...] = _key((), "only in these, as the editor names them; empty: in all")
    exclude: tuple[str, ...] = _key((), "never in files that match these, in the syntax of .gitignore")
    context_tokens: int = _key(1536, "of other places in the repository", low=0, high=1 << 16)
    prefix_tokens: int = _key(1024, "of the text before the cursor", low=64, high=1 << 16)
    suffix_tokens: int = _key(192, "of the text after the cursor", low=32, high=1 << 16)
    speculate: str = _key("auto", "prepare what follows an accepted completion; auto: on a GPU", choices=SPECULATION)
    calm: bool = _key(False, "none by themselves while the agent works: for machines that are too slow for both")
    min_logprob: float = _key(-0.9, "least mean log-probability of a first line to be shown", low=-100, high=0)


@dataclass(frozen=True)
class EngineConfig:
    """[engine]: where the model runs."""

    isolation: str = _key(
        "off", "process: a process of its own, so that a crash of llama.cpp ends one request only", choices=ISOLATIONS
    )


@dataclass(frozen=True)
class SchedulerConfig:
    """[scheduler]: how long one call of the model may keep others waiting."""

    quantum_ms: float = _key(1000.0, "longest prefill call while nobody else waits", low=1, high=60_000)
    shared_quantum_ms: float = _key(100.0, "longest prefill call while other requests run", low=1, high=60_000)
    typing_quantum_ms: float = _key(50.0, "longest prefill call while someone types", low=1, high=60_000)
    typing_window_s: float = _key(20.0, "someone types until so long after the latest completion", low=0, high=3600)
    min_share: float = _key(0.3, "share of time that completions leave to other requests", low=0.05, high=0.9)
    abort_ms: float = _key(
        100.0, "a completion cuts short a prefill call expected to take longer (CPU only); 0: never", low=0, high=60_000
    )
    speculate: str = _key("off", "guess several tokens where the answer copies earlier text", choices=("auto", "off"))


@dataclass(frozen=True)
class FixConfig:
    """[fix]: budgets of the agent loop."""

    tests: str = _key("", "test command; empty: pytest in the project's own environment")
    max_steps: int = _key(100, "model turns of a whole run", low=1, high=10_000)
    max_attempts: int = _key(0, "attempts from the tree as found; 0: the profile's own number", low=0, high=100)
    max_new_tokens: int = _key(48_000, "tokens generated in a whole run", low=64, high=10_000_000)
    wall_s: float = _key(1800.0, "seconds for a whole run", low=1, high=86_400)
    command_s: float = _key(120.0, "seconds for one command or test run", low=1, high=86_400, safe=True)
    ttft_budget_s: float = _key(
        20.0, "seconds that reading the project may take before the first answer; 0: nothing is read", low=0, high=3600
    )
    trusted: tuple[str, ...] = _key((), "folders of projects whose AGENTS.md files are followed", is_path=True)
    observation_chars: int = _key(
        10_000, "characters of one observation; head and tail are kept", low=500, high=1_000_000, safe=True
    )


@dataclass(frozen=True)
class DaemonConfig:
    """[daemon]: lifetime of the shared process."""

    idle_exit_s: float = _key(1800.0, "exit after so many seconds without a client; 0: never", low=0, high=31_536_000)
    trace: str = _key("", "file for a trace of the engine (Perfetto reads it), begun anew at each start", is_path=True)


@dataclass(frozen=True)
class Config:
    """All settings of one process."""

    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    fix: FixConfig = field(default_factory=FixConfig)
    daemon: DaemonConfig = field(default_factory=DaemonConfig)


def load(
    *,
    user_file: Path | None = None,
    project_file: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Merge all sources. `flags` maps "section.key" to a value; None means "not given".

    Raises ConfigError naming the key, its source and the allowed range.
    """
    values: dict[str, dict[str, Any]] = {f.name: {} for f in dataclasses.fields(Config)}
    for path, project in ((user_file, False), (project_file, True)):
        if path is not None and path.is_file():
            _merge_file(values, path, project=project)
    _merge_env(values, os.environ if env is None else env)
    for dotted, value in (flags or {}).items():
        if value is not None:
            section, _, key = dotted.partition(".")
            _put(values, section, key, value, "--" + ("model" if dotted == "model.path" else key.replace("_", "-")))
    return Config(**{f.name: _section(f.name)(**values[f.name]) for f in dataclasses.fields(Config)})


def _section(name: str) -> Any:
    return typing.get_type_hints(Config)[name]


def _merge_file(values: dict[str, dict[str, Any]], path: Path, *, project: bool) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise ConfigError(f"{path}: {error}", hint="fix or remove this file") from error
    for section, keys in table.items():
        if section not in values or not isinstance(keys, dict):
            raise ConfigError(f"{path}: unknown section [{section}]", hint=f"sections: {', '.join(values)}")
        for key, value in keys.items():
            _put(values, section, key, value, str(path), project=project, folder=path.parent)


def _merge_env(values: dict[str, dict[str, Any]], env: Mapping[str, str]) -> None:
    for section in values:
        for f in dataclasses.fields(_section(section)):
            name = f"QCN_{section}_{f.name}".upper()
            if name in env:
                hint = typing.get_type_hints(_section(section))[f.name]
                _put(values, section, f.name, _from_text(env[name], hint, name), f"environment variable {name}")


def _from_text(text: str, hint: Any, name: str) -> Any:
    if hint is str:
        return text
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return [_from_text(part, inner, name) for part in text.split(",") if part]
    try:
        if hint is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        return hint(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"environment variable {name}: {text!r} is not {_describe(hint)}") from error


def _put(
    values: dict[str, dict[str, Any]],
    section: str,
    key: str,
    value: Any,
    source: str,
    *,
    project: bool = False,
    folder: Path = Path(),
) -> None:
    fields = {f.name: f for f in dataclasses.fields(_section(section))} if section in values else {}
    if key not in fields:
        known = ", ".join(fields) or ", ".join(values)
        raise ConfigError(f"{source}: unknown key {section}.{key}", hint=f"known: {known}")
    if project and not fields[key].metadata["safe"]:
        raise ConfigError(
            f"{source}: a project may not set {section}.{key}", hint="set it in your own config.toml, or as a flag"
        )
    checked = _checked(fields[key], typing.get_type_hints(_section(section))[key], value, section, source)
    if fields[key].metadata["is_path"] and checked:
        many, where = isinstance(checked, tuple), f"{source}: {section}.{key}"
        places = [_absolute(path, folder, where) for path in (checked if many else (checked,))]
        checked = tuple(places) if many else places[0]
    values[section][key] = checked


def _absolute(path: str, folder: Path, where: str) -> str:
    if "\0" in path:
        raise ConfigError(f"{where}: {path!r} is no file name")
    try:
        return str((folder / Path(path).expanduser()).absolute())
    except RuntimeError as error:  # ~ of a user that does not exist
        raise ConfigError(f"{where}: {path!r}: {error}", hint="write the whole path") from error


def _checked(f: "dataclasses.Field[Any]", hint: Any, value: Any, section: str, source: str) -> Any:
    meta: types.MappingProxyType[Any, Any] = f.metadata
    where = source if source.startswith("--") else f"{source}: {section}.{f.name}"
    hint_line = f"{section}.{f.name}: {meta['help']}"
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple) or not all(_is(item, inner) for item in value):
            raise ConfigError(f"{where}: expected a list of {_describe(inner)}, got {value!r}", hint=hint_line)
        return tuple(inner(item) for item in value)
    if not _is(value, hint):
        raise ConfigError(f"{where}: expected {_describe(hint)}, got {value!r}", hint=hint_line)
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(meta['choices'])}", hint=hint_line)
    if (meta["low"] is not None and value < meta["low"]) or (meta["high"] is not None and value > meta["high"]):
        raise ConfigError(
            f"{where}: {value} is outside {meta['low']} .. {meta['high']}", hint=f"give a number in it; {hint_line}"
        )
    return hint(value)


def _is(value: Any, hint: Any) -> bool:
    if hint is float:  # NaN would be in every range
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and abs(value) <= sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint))
