"""The list of a job's products whose number is known only after it: a crf for each member, an x1d for each source.

It is a product as others are, declared in the rule, so that Snakemake need not know what it lists. Its record beside it tells the
content of each file: one that is gone or changed makes the job stale.
"""

import csv

COLUMNS = ("file", "suffix", "size", "digest")


def text(rows):
    """What a list says: rows of file (relative to the list's folder), suffix, size and digest, in the order of their names."""
    lines = [",".join(COLUMNS), *(",".join(f'"{row[c]}"' if "," in str(row[c]) else str(row[c]) for c in COLUMNS) for row in rows)]
    return "\n".join(lines) + "\n"


def read(path):
    """The rows of a list: dicts of text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
