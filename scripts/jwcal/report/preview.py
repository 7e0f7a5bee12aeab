"""Pictures of products: `python -m jwcal.report.preview RESULTS` writes PNGs to RESULTS/previews."""

import argparse
import sys
from pathlib import Path

import numpy as np

from ..settings.chains import root_and_suffix
from ..vocabulary.errors import JwcalError
from . import drawing, measure, pictures

SUFFIXES = ("rate", "cal", "i2d")


def picture(path, png):
    """Draw a product's first image or curve, with its units and how many pixels are flagged.

    Parameters
    ----------
    path : path
        A product.
    png : path
    """
    from matplotlib import pyplot

    found = pictures.pictures(path)
    if not found:
        raise JwcalError("no pixel has a value, so there is nothing to draw", path)
    first = found[0]
    figure, axes = pyplot.subplots(figsize=(6.4, 6), layout="constrained")
    if isinstance(first, pictures.Image):
        colours = pyplot.get_cmap(drawing.COLOURS).with_extremes(bad=drawing.NO_VALUE)
        drawn = axes.imshow(first.values, origin="lower", norm=drawing.norm(first), cmap=colours, interpolation="nearest", aspect="auto")
        figure.colorbar(drawn, label=first.unit, shrink=0.85)
        axes.set_box_aspect(np.clip(np.divide(*first.values.shape), 0.2, 2))
        _draw_marks(axes, first)
    else:
        drawing.draw_curves(axes, first)
    keywords, flags = measure.keywords(path), measure.flags(path)
    flagged = f", {flags['DO_NOT_USE']:.2%} of the pixels DO_NOT_USE" if "DO_NOT_USE" in flags else ""
    axes.set_title(f"{Path(path).name}\n{keywords['DETECTOR']} {keywords['FILTER']} {keywords['EXP_TYPE']}", fontsize=9)
    axes.set_xlabel(f"{axes.get_xlabel()}\n{first.caption}{flagged}; blue: no value".strip(), fontsize=8)
    png.parent.mkdir(parents=True, exist_ok=True)
    # no software version or date in the file: the same product gives the same bytes
    figure.savefig(png, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _draw_marks(axes, image):
    """Circles around sources, lines at the edges of apertures."""
    for marks in image.marks:
        if marks.kind == "source":
            axes.scatter(marks.x, marks.y, s=40, facecolors="none", edgecolors="tab:orange", linewidths=0.6)
        else:
            draw, place = (axes.axvline, marks.x[0]) if np.isfinite(marks.x[0]) else (axes.axhline, marks.y[0])
            draw(place, color="tab:orange", linewidth=0.6, linestyle="-" if marks.kind == "aperture" else "--")


def main(arguments=None):
    """Draw the first product of each kind (or all of them); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jwcal.report.preview", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--all", action="store_true", help="every product, not the first of each kind")
    options = parser.parse_args(arguments)
    drawn = []
    for suffix in pictures.DRAWINGS if options.all else SUFFIXES:
        found = sorted(options.results.glob(f"stage*/*_{suffix}.fits"), key=lambda path: (-int(path.parent.name[-1]), path.name))
        for path in found if options.all else found[:1]:
            png = options.results / "previews" / f"{root_and_suffix(path)[0]}_{suffix}.png"
            picture(path, png)
            print(png, flush=True)
            drawn.append(png)
    if not drawn:
        raise JwcalError("no product to draw", options.results, "Run the workflow first")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except JwcalError as error:
        sys.exit(f"ERROR: {error}")
