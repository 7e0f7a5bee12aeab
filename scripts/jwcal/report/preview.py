"""Pictures of products: `python -m jwcal.report.preview RESULTS` writes PNGs to RESULTS/previews."""

import argparse
import base64
import io
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize

from ..chains import root_and_suffix
from ..errors import JwcalError
from . import measure, pictures

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "jwcal"  # the same names inside the same picture
LONGEST = 384  # pixels of a picture in the report, along either axis
COLOURS = "inferno"
NO_VALUE = "#4477aa"
INK = "#010203"  # of lines and text in curves; stands for the page's own colour
HUES = ("#4488cc", "#cc6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
SUFFIXES = ("rate", "cal", "i2d")


def norm(picture):
    """The colour scale of an image."""
    return ImageNormalize(vmin=picture.low, vmax=picture.high, stretch=AsinhStretch(0.15))


# --- files ---


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
        colours = pyplot.get_cmap(COLOURS).with_extremes(bad=NO_VALUE)
        drawn = axes.imshow(first.values, origin="lower", norm=norm(first), cmap=colours, interpolation="nearest", aspect="auto")
        figure.colorbar(drawn, label=first.unit, shrink=0.85)
        axes.set_box_aspect(np.clip(np.divide(*first.values.shape), 0.2, 2))
    else:
        _curves(axes, first)
    keywords, flags = measure.keywords(path), measure.flags(path)
    flagged = f", {flags['DO_NOT_USE']:.2%} of the pixels DO_NOT_USE" if "DO_NOT_USE" in flags else ""
    axes.set_title(f"{Path(path).name}\n{keywords['DETECTOR']} {keywords['FILTER']} {keywords['EXP_TYPE']}", fontsize=9)
    axes.set_xlabel(f"{axes.get_xlabel()}\n{first.caption}{flagged}; blue: no value".strip(), fontsize=8)
    png.parent.mkdir(parents=True, exist_ok=True)
    # no software version or date in the file: the same product gives the same bytes
    figure.savefig(png, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _curves(axes, curves):
    for number, (x, y) in enumerate(zip(curves.x, curves.y, strict=True)):
        step = -(-len(x) // pictures.MOST_POINTS)
        style = {"marker": ".", "linestyle": "", "markersize": 5 if len(x) < 300 else 2} if curves.points else {"linewidth": 0.9}
        axes.plot(x[::step], y[::step], color=HUES[number % len(HUES)], **style)
    axes.set_xlabel(curves.x_label)
    axes.set_ylabel(curves.y_label)


# --- the page ---


def web(picture):
    """A picture as the report takes it: `{"kind": "image", "src", "low", "high"...}` or `{"kind": "curves", "svg"...}`."""
    if isinstance(picture, pictures.Image):
        return _web_image(picture)
    return {"kind": "curves", "svg": _svg(picture), "caption": picture.caption, "label": f"{picture.y_label} against {picture.x_label}"}


def _web_image(image):
    from PIL import Image

    colours = matplotlib.colormaps[COLOURS].with_extremes(bad=NO_VALUE)
    scaled = norm(image)(pictures.smaller(image.values, LONGEST))
    pixels = colours(np.ma.masked_invalid(scaled)[::-1], bytes=True)[..., :3]
    out = io.BytesIO()
    small = max(pixels.shape) <= 64  # few pixels: each is to be seen as it is
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", lossless=small, quality=70, method=4)
    return {
        "kind": "image",
        "src": "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode(),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "low": f"{image.low:.3g}",
        "high": f"{image.high:.3g}",
        "unit": image.unit,
        "caption": image.caption,
    }


def _svg(curves):
    """A curve as SVG for the inside of a page, in the page's colour of text."""
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}):
        figure = Figure(figsize=(3.6, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        _curves(axes, curves)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-z]+_\d+"', "", text)  # names of groups: several curves are in one page
    text = re.sub(r'font: ([^;"]*?)[\'"][^;"]*', r"font: \1sans-serif", text)
    return re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)


def main(arguments=None):
    """Draw the first product of each kind (or all of them); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jwcal.report.preview", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--all", action="store_true", help="every product, not the first of each kind")
    options = parser.parse_args(arguments)
    drawn = []
    for suffix in pictures.DRAWINGS if options.all else SUFFIXES:
        found = sorted(options.results.glob(f"stage*/*_{suffix}.fits"))
        for path in found if options.all else found[:1]:
            png = options.results / "previews" / f"{root_and_suffix(path)[0]}_{suffix}.png"
            picture(path, png)
            drawn.append(png)
    if not drawn:
        raise JwcalError("no product to draw", options.results, "Run the workflow first")
    print("\n".join(str(png) for png in drawn))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except JwcalError as error:
        sys.exit(f"ERROR: {error}")
