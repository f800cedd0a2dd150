"""What an indexer's worker does, without end: reads Python sources, parses them, stores words. Until it is killed.

usage: python index_load.py FOLDER
"""

import ast
import re
import sqlite3
import sys
from pathlib import Path

WORD = re.compile(r"[A-Za-z_]\w+")


def index(database: sqlite3.Connection, path: Path) -> int:
    """Store the words and the definitions of a file; how many rows that were."""
    text = path.read_text(encoding="utf-8", errors="replace")
    rows = [(str(path), word) for word in WORD.findall(text)]
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        tree = ast.Module([], [])
    rows += [(str(path), node.name) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    database.execute("DELETE FROM words WHERE path = ?", (str(path),))
    database.executemany("INSERT INTO words VALUES (?, ?)", rows)
    database.commit()
    return len(rows)


def main() -> None:
    """Over all files of the folder, again and again."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE words (path, word)")
    paths = sorted(Path(sys.argv[1]).rglob("*.py"))
    while paths:
        for path in paths:
            index(database, path)


if __name__ == "__main__":
    main()
