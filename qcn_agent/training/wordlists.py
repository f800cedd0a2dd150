"""Words the textbook draws from, as `wordlists.toml` lists them."""

import tomllib
from pathlib import Path
from typing import Any

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("wordlists.toml").read_text(encoding="utf-8"))

SYNONYMS: dict[str, list[str]] = {word: others.split() for word, others in _TABLE["synonyms"].items()}
TYPE_HINTS: dict[str, str] = _TABLE["type_hints"]
AFFIXES: list[str] = _TABLE["affixes"].split()
MODULES: list[str] = _TABLE["modules"].split()
SIBLINGS: list[str] = _TABLE["siblings"].split()
FOLDERS: list[str] = _TABLE["folders"]
MODULE_TITLES: list[str] = _TABLE["module_titles"]
DOC_TAILS: list[str] = _TABLE["doc_tails"]
