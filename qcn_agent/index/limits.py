"""What a single file may cost."""

MAX_BYTES = 2_000_000  # a larger file is known by its path only
MAX_PARSE_S = 2.0  # then it has words but no tree
FILE_BUDGET_S = 10  # all work on one file: then its worker is ended, and it is read without a parser
NICENESS = 19  # indexing comes last in the queue for the processor
