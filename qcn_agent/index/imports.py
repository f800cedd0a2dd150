"""What an import statement names, read from its text: one small reader a language family."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qcn_agent.index import columns

MAX_NAMES = 64


@dataclass(frozen=True)
class Import:
    """`module` as it is written (a dotted name, a path, a crate path), the `names` taken from it, the line from 1."""

    module: str
    names: tuple[str, ...]
    line: int

    @property
    def keys(self) -> tuple[str, ...]:
        """What the imported file may be called; in `from package import module` that is one of the names."""
        return tuple(dict.fromkeys((import_key(self.module), *self.names)))


_EXTENSIONS = frozenset(("h", "hh", "hpp", "hxx", "inc", "js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "cts", "json"))
_EXTENSIONS |= {"css", "scss", "vue", "svelte", "rb", "php", "lua", "sh", "py"}


def import_key(module: str) -> str:
    """What a file that `module` names may be called: the last part of the path, without an extension.

    `a.b.c`, `./b/c.js`, `x/y/c.h`, `crate::b::c` are all c.
    """
    last = module.replace("::", "/").replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, _, extension = last.rpartition(".")
    if not stem.strip("."):
        return extension
    return stem.rpartition("/")[2] if extension in _EXTENSIONS else extension


def pack_imports(imports: Sequence[Import]) -> bytes:
    """Imports as a blob; b"" for none."""
    numbers = [
        np.array([one.line for one in imports], np.uint32),
        np.array([len(one.names) for one in imports], np.uint32),
    ]
    return columns.pack(numbers, [*(one.module for one in imports), *(name for one in imports for name in one.names)])


def unpack_imports(blob: bytes) -> tuple[Import, ...]:
    """What went into `pack_imports`."""
    (lines, sizes), texts = columns.unpack(blob, 2)
    modules, names = texts[: len(lines)], texts[len(lines) :]
    ends = np.cumsum(sizes).tolist()
    spans = zip(modules, [0, *ends], ends, lines.tolist(), strict=False)
    return tuple(Import(module, tuple(names[start:end]), line) for module, start, end, line in spans)


_QUOTED = re.compile(r"""["'`<]([^"'`<>\n]+)["'`>]""")
_BRACED = re.compile(r"\{([^}]*)\}", re.DOTALL)
_NAME = re.compile(r"[^\W\d]\w*")
_AS = re.compile(r"\s+as\s+\w+|\s*:\s*\w+")
_COMMENT = re.compile(r"#[^\n]*")


def read_imports(language: str, text: str, line: int) -> tuple[Import, ...]:
    """The imports of one statement; empty where it can't be understood."""
    reader = _READERS.get(language, _dotted)
    return tuple(Import(module, names[:MAX_NAMES], line) for module, names in reader(text) if module)


Pairs = Iterator[tuple[str, tuple[str, ...]]]


def _python(text: str) -> Pairs:
    text = _AS.sub("", _COMMENT.sub("", text).replace("\\\n", " "))
    if found := re.match(r"\s*from\s+([.\w]+)\s+import\s+(.*)", text, re.DOTALL):
        yield found[1], tuple(_NAME.findall(found[2])) or ("*",)
    elif found := re.match(r"\s*import\s+(.*)", text, re.DOTALL):
        for module in found[1].split(","):
            yield module.strip(), ()


def _quoted(text: str) -> Pairs:
    """JavaScript, Go, C, Ruby, PHP, Lua: the module is a string or stands between angle brackets."""
    paths: list[str] = _QUOTED.findall(text)
    if paths:
        clause = text[: text.rfind(paths[-1])]
        braced = _BRACED.search(clause)
        names = _NAME.findall(_AS.sub("", braced[1])) if braced else []
        default = re.match(r"\s*import\s+(?:type\s+)?([^\W\d]\w*)\s*(?:,|from)", clause)
        yield paths[-1], tuple([default[1], *names] if default else names)


def _rust(text: str) -> Pairs:
    """`use a::b::{c, d::e}` gives a::b with c, d; `mod name;` gives self::name."""
    if found := re.search(r"\bmod\s+(\w+)\s*;", text):
        yield f"self::{found[1]}", ()
    elif found := re.search(r"\buse\s+(.*?);", text, re.DOTALL):
        path = re.sub(r"\s+as\s+\w+|\s+", "", found[1])
        head, brace, rest = path.partition("{")
        if brace:
            yield head.rstrip(":"), tuple(_NAME.findall(re.sub(r"::[\w:]+", "", rest)))
        else:
            module, _, name = path.rpartition("::")
            yield (module or name), ((name,) if module else ())


def _dotted(text: str) -> Pairs:
    """Java, Kotlin, Scala, C#, Swift: `import a.b.C`, `import a.b.{C, D}`, `using a.b`."""
    bare = re.sub(r"^\s*(?:import|using|use)\s+(?:static\s+)?|;|\s+as\s+\w+|\s+", "", text.strip())
    head, brace, rest = bare.partition("{")
    if brace:
        yield head.rstrip("."), tuple(_NAME.findall(rest))
    else:
        module, _, name = bare.rpartition(".")
        yield bare.removesuffix(".*").removesuffix("._"), ((name,) if module else ())


def _php(text: str) -> Pairs:
    if "use" in text.split(maxsplit=1)[0]:
        module = text.split(maxsplit=1)[-1].rstrip("; ").replace("\\", ".")
        yield module, (module.rpartition(".")[2],)
    else:
        yield from _quoted(text)


def _bash(text: str) -> Pairs:
    words = text.split()
    if len(words) > 1:
        yield words[1].strip("\"'"), ()


_READERS: dict[str, Callable[[str], Pairs]] = {
    "python": _python,
    "rust": _rust,
    "php": _php,
    "bash": _bash,
    **dict.fromkeys(("javascript", "typescript", "tsx", "go", "c", "cpp", "ruby", "lua"), _quoted),
}
