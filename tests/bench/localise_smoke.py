"""Twelve issues written by hand for files of sympy 1.13.3, as users write them: where each one's file is ranked.

usage: python -m tests.bench.localise_smoke [--sympy FOLDER]

A check for what is silly, not a measure: whoever wrote the texts knew the code. None is from a benchmark.
"""

import argparse
import json
import tempfile
from pathlib import Path

from qcn_agent.context.ranking import rank
from qcn_agent.index.index import Index
from tests.bench.index_bench import fetched_sympy
from tests.bench.report import Target, conclude, table

ISSUES = Path(__file__).with_name("data") / "localise_smoke.json"
LAST = 5


def place_of(index: Index, issue: str, gold: str) -> int:
    """The rank of a file from 1, 0 where it is not among the ranked."""
    paths = [file.path for file in rank(index, issue).files]
    return paths.index(gold) + 1 if gold in paths else 0


def main() -> None:
    """Rank and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sympy", type=Path, help="its unpacked sources; default: from PyPI")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        workspace = options.sympy or fetched_sympy(Path(place))
        index = Index.open(workspace, folder=Path(place), watch=False)
        index.refresh()
        issues = json.loads(ISSUES.read_text(encoding="utf-8"))
        places = [place_of(index, issue["text"], issue["gold"]) for issue in issues]
        index.close()
    rows = [[issue["gold"], str(place or "-")] for issue, place in zip(issues, places, strict=True)]
    print(table(["file", "place"], rows))
    num_found = sum(0 < place <= LAST for place in places)
    conclude([Target(f"among the first {LAST}", f"{num_found} of {len(places)}", num_found == len(places))], {}, None)


if __name__ == "__main__":
    main()
