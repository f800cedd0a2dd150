"""The house keeps its own rules: the tree in the README, a line for each file, four import names, quiet imports."""

import ast
import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["agent", "benchmark", "cli", "completion", "context", "daemon", "engine", "index", "models", "training"]
PACKAGES = ["qcn_agent", "lsp/qcn_lsp", "tools/qcn_tools", "prompts/qcn_prompts"]
UNLISTED = {"__init__.py", "__main__.py", "py.typed", "README.md"}


def tracked() -> list[Path]:
    """Files that belong to the project."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def described_paths(readme: str) -> list[str]:
    """The paths of the tree in the README's last code block."""
    block = re.findall(r"```\n(pyproject.*?)```", readme, re.DOTALL)[0]
    paths, parent = [], ""
    for line in block.splitlines():
        name = line.split()[0]
        parent = name if not line.startswith(" ") else parent
        paths.append(name if not line.startswith(" ") else parent + name)
    return paths


def test_tree_in_the_readme_equals_the_disk() -> None:
    """Everything in the tree exists, and every room and module of the top levels is in it."""
    paths = described_paths((ROOT / "README.md").read_text(encoding="utf-8"))
    files = tracked()
    top = {f"qcn_agent/{room}/" for room in ROOMS} | {"lsp/", "tools/", "prompts/", "tests/", "qcn_agent/"}
    modules = {f"qcn_agent/{path.name}" for path in (ROOT / "qcn_agent").glob("*.py")} - {
        "qcn_agent/__init__.py",
        "qcn_agent/__main__.py",
    }
    folders = {str(path.relative_to(ROOT).parts[0]) + "/" for path in files if len(path.relative_to(ROOT).parts) > 1}

    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert top | modules <= set(paths)
    assert {folder for folder in folders if not folder.startswith(".")} <= set(paths)


@pytest.mark.parametrize("room", [*(f"qcn_agent/{room}" for room in ROOMS), "lsp", "tools", "prompts", "tests/bench"])
def test_every_file_has_a_line_in_its_rooms_readme(room: str) -> None:
    """A newcomer finds each file by name."""
    readme = (ROOT / room / "README.md").read_text(encoding="utf-8")
    files = [path for path in tracked() if path.is_relative_to(ROOT / room) and path.name not in UNLISTED]
    python = [path for path in files if path.suffix == ".py"]

    missing = [str(path.relative_to(ROOT)) for path in python if path.name not in readme]

    assert missing == []


def modules() -> list[str]:
    """Every module that ships."""
    names = []
    for package in PACKAGES:
        base = (ROOT / package).parent
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            if "training" not in name and path.name not in {"__init__.py", "__main__.py"}:
                names.append(name)
    return names


def test_importing_anything_prints_nothing() -> None:
    """Standard output is the wire of a language server."""
    code = f"import importlib\nfor name in {modules()!r}:\n    importlib.import_module(name)"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == ("", "")


def test_wheel_holds_exactly_four_import_names(tmp_path: Path) -> None:
    """The four packages with the model, its card, the prompts; no training, no tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()

    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"qcn_agent", "qcn_lsp", "qcn_tools", "qcn_prompts"}
    assert "qcn_agent/models/qcn-mini-q8_0.gguf" in names
    assert "qcn_agent/models/MODEL_CARD.md" in names
    assert "qcn_prompts/profiles/mini/observations/test_report.md" in names
    assert not [name for name in names if "training" in name or "node_modules" in name]


def test_version_is_one() -> None:
    """The package says one version everywhere."""
    package = importlib.import_module("qcn_agent")

    assert re.fullmatch(r"\d+\.\d+\.\d+", package.__version__)


def test_numbers_of_the_house() -> None:
    """No hand-written file over 400 lines, no function over 60."""
    long_files, long_functions = [], []
    for path in tracked():
        if path.suffix != ".py" or path.is_relative_to(ROOT / "tests"):
            continue
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            long_files.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    long_functions.append(f"{path}:{node.name} ({length})")

    assert (long_files, long_functions) == ([], [])


def test_nothing_of_a_workplace_is_in_the_project() -> None:
    """No path of the machine that this was written on."""
    place = str(ROOT.parent)
    if len(ROOT.parts) < 3:
        pytest.skip("the checkout lies at the root")
    hits = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in {".py", ".md", ".toml", ".txt", ".jsonl", ""}
        and f"{place}/" in path.read_text(encoding="utf-8", errors="replace")
    ]

    assert hits == []
