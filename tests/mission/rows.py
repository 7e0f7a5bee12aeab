"""The table of modes in README.md, read and written.

python tests/mission/rows.py [MODE ...]     # runs them (all) and writes their rows anew
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[2] / "README.md"
HEAD = "| mode | is | pipelines | products | compared with what was put in |\n|---|---|---|---|---|\n"

# One mode for each pipeline, those that take least.
SHORT = (
    *("nrc_tsimage", "nrc_dark", "fgs_acq1", "nrc_image", "nrc_image_wfs", "nrc_coron", "nis_ami"),
    *("mir_lrs-fixedslit", "mir_lrs-slitless_series", "nrs_autowave"),
)


class Row(NamedTuple):
    """A line of the table."""

    what: str
    pipelines: list
    products: list
    checked: str


def read():
    """Name of the mode -> Row, in the table's order."""
    found = {}
    for line in README.read_text().partition(HEAD)[2].splitlines():
        if not line.startswith("|"):
            break
        name, what, pipelines, products, checked = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.strip("`")] = Row(what, pipelines.split(", "), products.split(", "), checked)
    return found


def write(rows):
    """Put rows (name -> Row) in place of the table's."""
    before, _, after = README.read_text().partition(HEAD)
    cells = [(f"`{name}`", row.what, ", ".join(row.pipelines), ", ".join(row.products), row.checked) for name, row in rows.items()]
    table = "".join(f"| {' | '.join(line)} |\n" for line in cells)
    README.write_text(before + HEAD + table + re.sub(r"\A(\|.*\n)*", "", after))


def row(mode, products, truth):
    """What a run of a mode made, and what there was to compare."""
    from checks import check

    number = check(mode, products, truth)
    return Row(mode.what, products.pipelines(), products.suffixes(), number.what)


def main(names):
    """Write the rows of some modes, or of all."""
    from checks import Products
    from test_workflow import snakemake

    from jwcal.simulate.modes import MODES

    rows = read()
    for name in names or MODES:
        with tempfile.TemporaryDirectory() as folder:
            made = MODES[name].make(folder)
            snakemake(Path(folder), "--configfile", made.config, cores=1)
            rows[name] = row(MODES[name], Products(Path(folder) / "results"), made.truth)
    write({name: rows[name] for name in MODES if name in rows})


if __name__ == "__main__":
    sys.path += [str(Path(__file__).parent), *(str(README.parent / "tests" / folder) for folder in ("", "workflow"))]
    main(sys.argv[1:])
