"""Run the cells of a notebook and write it down: `python scripts/notebook_page.py docs/notebook`.

It makes README.md, example.ipynb and pictures.

The cells are those of example.py: `# %%` begins one of code, `# %% [markdown]` one of text. They are run in a folder of their own. The
package that is imported is the one beside this file.
"""

import argparse
import ast
import base64
import contextlib
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
CELL = re.compile(r"^# %%( \[markdown\])?\n", re.M)
DPI = 75


@dataclass
class Cell:
    """A cell: its text, and what it gave."""

    text: str
    is_code: bool
    printed: str = ""
    value: str = ""  # of its last line, as Python shows it
    pictures: list = field(default_factory=list)  # PNG


def main(arguments=None):
    """Make the page and the notebook of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("folder", type=Path, help="with example.py")
    folder = parser.parse_args(arguments).folder.resolve()
    cells = run(folder / "example.py")
    for old in folder.glob("picture_*.png"):
        old.unlink()
    pictures = (png for cell in cells for png in cell.pictures)
    for number, png in enumerate(pictures, start=1):
        (folder / f"picture_{number}.png").write_bytes(png)
    (folder / "README.md").write_text(page(cells))
    (folder / "example.ipynb").write_text(notebook(cells))


def run(source):
    """Run the cells of a file one after the other; what they write lands in a folder that is removed."""
    import matplotlib

    matplotlib.use("Agg")
    cells, names, here = read(source.read_text()), {"__name__": "__main__"}, os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            for cell in cells:
                if cell.is_code:
                    execute(cell, names)
        finally:
            os.chdir(here)
    return cells


def read(text):
    """The cells of a file, not yet run."""
    _, *parts = CELL.split(text)
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        body = body.strip("\n")
        found.append(Cell(re.sub(r"^# ?", "", body, flags=re.M) if mark else body, not mark))
    return found


def execute(cell, names):
    """Run a cell of code; what it prints, shows and draws is noted in it."""
    from matplotlib import pyplot

    body = ast.parse(cell.text).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    cell.printed = said.getvalue().rstrip("\n")
    for number in pyplot.get_fignums():
        png = io.BytesIO()
        pyplot.figure(number).savefig(png, dpi=DPI, metadata={"Software": None})
        cell.pictures.append(smaller(png))
    pyplot.close("all")
    cell.value = "" if value is None or cell.pictures else shown(value)


def smaller(png):
    """A picture with fewer colours."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(png).convert("RGB").quantize(96).save(out, "PNG", optimize=True)
    return out.getvalue()


def shown(value):
    """A value as the page shows it: the items of a mapping or a list a line each, where they are long."""
    text = repr(value)
    if isinstance(value, (dict, list)) and len(text) > 100:
        items = [f"{key!r}: {item!r}" for key, item in value.items()] if isinstance(value, dict) else map(repr, value)
        text = text[0] + ",\n ".join(items) + text[-1]
    return text


# --- what is written ---


def page(cells):
    """The page, in Markdown."""
    lines, number = [], 0
    for cell in cells:
        if not cell.is_code:
            lines += [cell.text, ""]
            continue
        lines += ["```python", cell.text, "```", ""]
        said = "\n".join(filter(None, [cell.printed, cell.value]))
        lines += ["```", said, "```", ""] if said else []
        for _ in cell.pictures:
            number += 1
            lines += [f"![](picture_{number}.png)", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def notebook(cells):
    """The same as a notebook, with what came out."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    made, count = [], 0
    for number, cell in enumerate(cells):
        more = {"id": f"cell-{number}"}  # the same each time
        if not cell.is_code:
            made.append(new_markdown_cell(cell.text, **more))
            continue
        count += 1
        outputs = [new_output("stream", name="stdout", text=cell.printed + "\n")] if cell.printed else []
        if cell.value:
            outputs.append(new_output("execute_result", data={"text/plain": cell.value}, execution_count=count))
        for png in cell.pictures:
            outputs.append(new_output("display_data", data={"image/png": base64.b64encode(png).decode()}))
        made.append(new_code_cell(cell.text, outputs=outputs, execution_count=count, **more))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    return nbformat.writes(new_notebook(cells=made, metadata=kernel)) + "\n"


if __name__ == "__main__":
    main()
