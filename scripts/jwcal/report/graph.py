"""A program as a picture: from the data on the left to the products of stage 3 on the right, with boxes for jobs that are alike."""

import html
import os
import textwrap
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from ..files.storage import replaced
from ..settings.chains import root_and_suffix
from ..vocabulary.errors import ConfigError
from . import outlook

FORMATS = ("svg", "png", "pdf", "html")
COLOURS = {outlook.TO_BE_MADE: "#cfe3f7", outlook.DEPENDS: "#e5ddf3", outlook.CURRENT: "#d5edd4", "data": "#f3f3f0", "trouble": "#f8d3cf"}
COLUMNS = ("data", "stage 1", "stage 2", "stage 3")
WIDTH, GAP, LETTERS = 3.7, 0.9, 45  # inches of a box, and between columns; letters of a line
LINE, MARGIN = 0.175, 0.22  # inches of a line of text, and around it
MOST = 40  # boxes of a column that are drawn one by one


@dataclass
class Box:
    """A box of the picture."""

    column: int
    lines: list
    colour: str
    jobs: list = field(default_factory=list)  # of `outlook.outlook`
    before: set = field(default_factory=set)  # numbers of the boxes that it is made from
    middle: float = 0.0  # inches from the top

    @property
    def height(self):
        return len(self.lines) * LINE + MARGIN


def write(found, path):
    """Draw a program; the file's ending says as what.

    Parameters
    ----------
    found : dict
        As `outlook.outlook` gives it.
    path : path
        *.svg, *.png, *.pdf, or *.html: a page with the picture and the plan as text.

    Raises
    ------
    ConfigError
        The ending is none of these.
    """
    kind = kind_of(path)
    figure = draw(boxes(found), found)
    with replaced(path) as temporary:
        if kind == "html":
            temporary.write_text(_page(figure, found), encoding="utf-8")
        else:
            figure.savefig(temporary, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)


def kind_of(path):
    """As what a picture is written; raises ConfigError where that can't be."""
    kind = Path(path).suffix[1:].lower()
    if kind not in FORMATS:
        raise ConfigError(
            f"a picture can't be written as {kind or 'a file without an ending'}", path, f"Choose one of {', '.join(FORMATS)}"
        )
    return kind


def boxes(found):
    """The boxes of a program, from the last stage to the data: jobs that are alike and go into the same ones share a box."""
    made, maker = [], {}
    makers = {path: number for number, job in enumerate(found["jobs"]) for path in job["products"].values()}
    inputs = [[job["input"], *(member["path"] for member in job["members"])] for job in found["jobs"]]
    users = {}
    for number, paths in enumerate(inputs):
        for path in paths:
            users.setdefault(makers.get(path, path), set()).add(number)
    ranks = {}
    order = sorted(range(len(found["jobs"])), key=lambda n: _rank(n, inputs, makers, ranks), reverse=True)
    alone = sum(job["stage"] == "stage3" for job in found["jobs"]) <= MOST
    groups = {}
    for number in order:
        job = found["jobs"][number]
        single = job["exposure"] if job["stage"] == "stage3" and alone else ""
        key = (job["rule"], job["state"], job["kind"], single, frozenset(maker[user] for user in users.get(number, ())))
        if key not in groups:
            groups[key] = len(made)
            made.append(Box(int(job["stage"][-1]), [], COLOURS[job["state"]]))
        maker[number] = groups[key]
        made[groups[key]].jobs.append(job)
    for box in made:
        box.lines = _words(box.jobs)
    data = {}
    for path in sorted(path for path in users if isinstance(path, str)):
        data.setdefault(frozenset(maker[user] for user in users[path]), []).append(path)
    for users_of, paths in data.items():
        made.append(Box(0, _files(paths), COLOURS["data"]))
        for user in users_of:
            made[user].before.add(len(made) - 1)
    for number, paths in enumerate(inputs):
        made[maker[number]].before.update(maker[makers[path]] for path in paths if path in makers)
    return made + _troubles(found)


def _files(paths):
    """Words for files of the data."""
    names = [os.path.basename(path) for path in paths]
    if len(names) == 1:
        root, suffix = root_and_suffix(names[0])
        return _wrapped(suffix and f"1 {suffix} file" or "1 file", root)
    kinds = sorted({root_and_suffix(name)[1] for name in names})
    return _wrapped(f"{len(names)} {', '.join(kinds)} files", root_and_suffix(names[0])[0], f"to {root_and_suffix(names[-1])[0]}")


def _rank(number, inputs, makers, known):
    """How many jobs come before one, in a row."""
    if number not in known:
        known[number] = 1 + max((_rank(makers[path], inputs, makers, known) for path in inputs[number] if path in makers), default=0)
    return known[number]


def _words(jobs):
    first = jobs[0]
    name = first["exposure"] if len(jobs) == 1 else f"{len(jobs)} exposures" if first["stage"] != "stage3" else f"{len(jobs)} associations"
    products = f"{first['pipeline']}: {outlook.products_of(first)}"
    return _wrapped(name, first["kind"], products)


def _wrapped(*texts):
    return [line for text in texts if text for line in textwrap.wrap(text, LETTERS, break_on_hyphens=False) or [text]]


def _troubles(found):
    """Boxes for what does not become a product."""
    made = []
    if found["unusable"]["exposures"]:
        names = found["unusable"]["exposures"]
        more = f"and {len(names) - 3} more" if len(names) > 3 else ""
        made.append(Box(0, _wrapped(f"{len(names)} can't be used:", *names[:3], more), COLOURS["trouble"]))
    for where, count in found["stops"].items():
        stage, _, why = where.partition(": ")
        text = f"{count} {'exposure stops' if count == 1 else 'exposures stop'} here: {why}"
        made.append(Box(int(stage[-1]) if stage[-1].isdecimal() else 1, _wrapped(text), COLOURS["trouble"]))
    for stage, counts in found["waits"].items():
        for what, count in counts.items():
            text = f"{count} {'association waits' if count == 1 else 'associations wait'} for {what}"
            made.append(Box(int(stage[-1]), _wrapped(text), COLOURS["trouble"]))
    return made


# --- drawing ---


def draw(made, found):
    """The figure of some boxes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Curve

    used = sorted({box.column for box in made} | {0})
    height = _place(made, used) + 0.9
    width = len(used) * (WIDTH + GAP) - GAP + 0.6
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "jwcal", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        left = {column: 0.3 + place * (WIDTH + GAP) for place, column in enumerate(used)}
        for column in used:
            axes.text(left[column] + WIDTH / 2, 0.3, COLUMNS[column], ha="center", va="center", fontsize=11, weight="bold", color="#444444")
        for box in made:
            for number in sorted(box.before):
                start = (left[made[number].column] + WIDTH, made[number].middle)
                end, back = (left[box.column], box.middle), False
                if made[number].column == box.column:  # within a stage: around the right side
                    start, end = (start[0], start[1] - 0.05), (start[0], box.middle + 0.05)
                    bend = [start, (start[0] + GAP * 0.8, start[1]), (end[0] + GAP * 0.8, end[1]), end]
                elif start[0] > end[0]:  # back, with an arrow: a mosaic is the direct image of spectra
                    start, end = (left[made[number].column], start[1] + 0.12), (left[box.column] + WIDTH, end[1] - 0.12)
                    half, back = (start[0] - end[0]) / 2, True
                    bend = [start, (start[0] - half, start[1]), (end[0] + half, end[1]), end]
                else:
                    half = (end[0] - start[0]) / 2
                    bend = [start, (start[0] + half, start[1]), (end[0] - half, end[1]), end]
                curve = Curve(bend, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
                look = {"linewidth": 0.9, "zorder": 1}
                if back:
                    arrow = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
                    axes.add_patch(FancyArrowPatch(path=curve, color="#5b7fa8", linestyle=(0, (4, 2)), **arrow, **look))
                else:
                    axes.add_patch(PathPatch(curve, fill=False, edgecolor="#8a8a8a", **look))
        for box in made:
            corner = (left[box.column], box.middle - box.height / 2)
            shape = FancyBboxPatch(corner, WIDTH, box.height, boxstyle="round,pad=0,rounding_size=0.07", zorder=2)
            shape.set(facecolor=box.colour, edgecolor="#6b6b6b", linewidth=0.8)
            axes.add_patch(shape)
            for place, line in enumerate(box.lines):
                y = box.middle + (place - (len(box.lines) - 1) / 2) * LINE
                weight = "bold" if place == 0 else "normal"
                axes.text(left[box.column] + WIDTH / 2, y, line, ha="center", va="center", fontsize=8, weight=weight, zorder=3)
        _legend(axes, made, height)
    return figure


def _legend(axes, made, height):
    x = 0.3
    shown = {**{state: COLOURS[state] for state in (outlook.TO_BE_MADE, outlook.DEPENDS, outlook.CURRENT)}, "not made": COLOURS["trouble"]}
    for word, colour in shown.items():
        if any(box.colour == colour for box in made):
            axes.text(x, height - 0.25, f" {word} ", fontsize=8, va="center", bbox={"facecolor": colour, "edgecolor": "#6b6b6b", "pad": 2})
            x += 0.4 + 0.075 * len(word)


def _place(made, used):
    """Put the boxes of each column under each other, those beside each other that belong together; returns the height in inches."""
    heights = []
    after = {number: [other for other in made if number in other.before] for number in range(len(made))}
    for column in reversed(used):
        mine = [(number, box) for number, box in enumerate(made) if box.column == column]
        wanted = {number: _mean([other.middle for other in after[number] if other.column != column], 1e3) for number, _ in mine}
        mine.sort(key=lambda pair: (wanted[pair[0]], pair[1].lines))
        top = 0.6
        for _, box in mine:
            box.middle = top + box.height / 2
            top += box.height + 0.18
        heights.append(top)
    tallest = max(heights)
    for column, height in zip(reversed(used), heights, strict=True):  # shorter columns stand in the middle
        for box in made:
            if box.column == column:
                box.middle += (tallest - height) / 2
    return tallest


def _mean(values, otherwise):
    return sum(values) / len(values) if values else otherwise


def _page(figure, found):
    picture = StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue()
    svg = svg[svg.index("<svg") :]
    words = html.escape(outlook.text(found, whole=True))
    return (
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>The plan of a program</title>\n'
        "<style>body{font-family:sans-serif;margin:1.5em}svg{max-width:100%;height:auto}pre{white-space:pre-wrap}</style>\n"
        f"<h1>The plan of a program</h1>\n{svg}\n<h2>In words</h2>\n<pre>{words}</pre>\n</html>\n"
    )
