"""Parsing and tag queries alone, over the files of a folder that have a grammar; `index_bench.py` compares with it.

usage: python index_bare.py FOLDER PART PARTS; reads every PARTS-th file, prints their number.
"""

import os
import sys
from pathlib import Path

from qcn_agent.index.files import list_files, read_file
from qcn_agent.index.languages import TEXT, language_of
from qcn_agent.index.record import is_generated, is_opaque
from qcn_agent.index.syntax import parse, tag_matches


def main() -> None:
    """Each of these files once."""
    os.nice(19)
    root, num_files = Path(sys.argv[1]), 0
    part, parts = int(sys.argv[2]), int(sys.argv[3])
    for path in list(list_files(root))[part::parts]:
        read = read_file(root / path)
        language = language_of(path)
        if read is None or read[1] is None or language == TEXT or is_opaque(read[1]) or is_generated(read[1]):
            continue
        tree = parse(read[1], language)
        if tree is not None:
            tag_matches(tree, language)
            num_files += 1
    print(num_files)


if __name__ == "__main__":
    main()
