"""Which language a file is written in, and which grammar reads it.

Sixteen grammars come as wheels; what none of them reads is text. A grammar is loaded when it is first needed.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

TEXT = "text"


@dataclass(frozen=True)
class Language:
    """A language with a grammar: `module`.`factory`() makes it, its tag queries are those of `queries/`."""

    name: str
    module: str
    queries: tuple[str, ...]
    extensions: tuple[str, ...]
    factory: str = "language"
    shebangs: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()


LANGUAGES = (
    Language(
        "python",
        "tree_sitter_python",
        ("python",),
        ("py", "pyi", "pyw"),
        shebangs=("python", "python2", "python3", "pypy", "pypy3"),
        filenames=("SConstruct", "SConscript"),
    ),
    Language(
        "javascript",
        "tree_sitter_javascript",
        ("ecmascript", "javascript"),
        ("js", "mjs", "cjs", "jsx"),
        shebangs=("node", "nodejs"),
    ),
    Language(
        "typescript",
        "tree_sitter_typescript",
        ("ecmascript", "typescript"),
        ("ts", "mts", "cts"),
        "language_typescript",
        shebangs=("ts-node", "deno", "bun"),
    ),
    Language("tsx", "tree_sitter_typescript", ("ecmascript", "typescript"), ("tsx",), "language_tsx"),
    Language("go", "tree_sitter_go", ("go",), ("go",)),
    Language("rust", "tree_sitter_rust", ("rust",), ("rs",)),
    Language("java", "tree_sitter_java", ("java",), ("java",)),
    Language("c", "tree_sitter_c", ("c",), ("c", "h")),
    Language(
        "cpp", "tree_sitter_cpp", ("c", "cpp"), ("cc", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "ipp", "cu", "cuh")
    ),
    Language("csharp", "tree_sitter_c_sharp", ("csharp",), ("cs",)),
    Language(
        "ruby",
        "tree_sitter_ruby",
        ("ruby",),
        ("rb", "rake", "gemspec"),
        shebangs=("ruby",),
        filenames=("Rakefile", "Gemfile"),
    ),
    Language("php", "tree_sitter_php", ("php",), ("php", "phtml"), "language_php", shebangs=("php",)),
    Language("bash", "tree_sitter_bash", ("bash",), ("sh", "bash"), shebangs=("sh", "bash", "dash", "zsh", "ksh")),
    Language("scala", "tree_sitter_scala", ("scala",), ("scala", "sc", "sbt"), shebangs=("scala",)),
    Language("kotlin", "tree_sitter_kotlin", ("kotlin",), ("kt", "kts")),
    Language("lua", "tree_sitter_lua", ("lua",), ("lua",), shebangs=("lua", "luajit")),
    Language("swift", "tree_sitter_swift", ("swift",), ("swift",), shebangs=("swift",)),
)
BY_NAME = {language.name: language for language in LANGUAGES}
_BY_EXTENSION = {extension: language.name for language in LANGUAGES for extension in language.extensions}
_BY_FILENAME = {name: language.name for language in LANGUAGES for name in language.filenames}
_BY_SHEBANG = {program: language.name for language in LANGUAGES for program in language.shebangs}


def language_of(path: str, head: bytes = b"") -> str:
    """The name of the language: by file name, by extension, or by the `#!` line at the start of `head`; else "text"."""
    name = PurePosixPath(path).name
    if found := _BY_FILENAME.get(name):
        return found
    stem, dot, extension = name.rpartition(".")
    if dot and stem:
        return _BY_EXTENSION.get(extension.lower(), TEXT)
    return _BY_SHEBANG.get(_interpreter(head), TEXT)


def _interpreter(head: bytes) -> str:
    """The program of a `#!` line without folder and version: `#!/usr/bin/env -S python3.12 -u` is python3."""
    if not head.startswith(b"#!"):
        return ""
    words = head.split(b"\n", 1)[0][2:256].decode("ascii", "replace").split()
    programs = [word.rpartition("/")[2] for word in words if not word.startswith("-") and "=" not in word]
    program = programs[1] if len(programs) > 1 and programs[0] == "env" else (programs or [""])[0]
    return program.partition(".")[0]
