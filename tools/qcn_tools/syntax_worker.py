"""Worker: does Python source still compile? Request: {"before", "after"}, bytes as Latin-1 text."""

import json
import sys
from typing import Any


def problem(source: bytes) -> dict[str, Any] | None:
    """What keeps `source` from compiling: {"line", "message"}, or None."""
    try:
        compile(source, "<file>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return {"line": error.lineno or 1, "message": error.msg}
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return {"line": 1, "message": str(error) or type(error).__name__}
    return None


def main() -> None:
    """Answer one request: the problem of `after`, or null when there is none or `before` had one too."""
    request = json.load(sys.stdin)
    before, after = (request[name].encode("latin-1") for name in ("before", "after"))
    json.dump(None if problem(before) else problem(after), sys.stdout)


if __name__ == "__main__":
    main()
