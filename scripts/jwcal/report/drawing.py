"""How images and curves are drawn: the colours, and pictures for the inside of the report's page."""

import base64
import io
import re

import matplotlib
import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize

from . import pictures

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "jwcal"  # the same names inside the same picture
LONGEST = 384  # pixels of a picture in the report, along either axis
COLOURS = "inferno"
NO_VALUE = "#4477aa"
INK = "#010203"  # of lines and text in curves; stands for the page's own colour
MARK = "#33bbee"  # circles and lines over images
CIRCLE, DASH = 4, 6  # pixels of a picture
HUES = ("#4488cc", "#cc6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def norm(picture):
    """The colour scale of an image."""
    return ImageNormalize(vmin=picture.low, vmax=picture.high, stretch=AsinhStretch(0.15))


def draw_curves(axes, curves):
    """Curves with their labels, thinned out where they have more points than can be seen."""
    for number, (x, y) in enumerate(zip(curves.x, curves.y, strict=True)):
        step = -(-len(x) // pictures.MOST_POINTS)
        style = {"marker": ".", "linestyle": "", "markersize": 5 if len(x) < 300 else 2} if curves.points else {"linewidth": 0.9}
        hue = HUES[number % len(HUES)]
        axes.plot(x[::step], y[::step], color=hue, label=curves.names[number] if curves.names else None, **style)
        if curves.errors:
            _draw_errors(axes, x[::step], y[::step], curves.errors[number][::step], hue, curves.points)
    if curves.log:
        axes.set_yscale("log")
    if curves.names:
        axes.legend(fontsize=7, frameon=False)
    axes.set_xlabel(curves.x_label)
    axes.set_ylabel(curves.y_label)


def _draw_errors(axes, x, y, error, hue, points):
    """Bars of points, a band about a line."""
    if points:
        axes.errorbar(x, y, error, fmt="none", ecolor=hue, elinewidth=0.6)
    else:
        axes.fill_between(x, y - error, y + error, color=hue, alpha=0.25, linewidth=0)


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
    if image.marks:  # which would be as coarse as the pixels
        factor = max(1, LONGEST // max(pixels.shape))
        pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    _draw_marks(drawn, image)
    drawn.save(out, "WEBP", lossless=small, quality=70, method=4)
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


def _draw_marks(drawn, image):
    """Circles and lines over a picture that may be smaller than the image."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(drawn)
    ny, nx = image.values.shape
    factor_x, factor_y = drawn.width / nx, drawn.height / ny
    for marks in image.marks:
        x, y = (marks.x + 0.5) * factor_x, drawn.height - (marks.y + 0.5) * factor_y
        if marks.kind == "source":
            for px, py in zip(x, y, strict=True):
                if np.isfinite(px + py):
                    pen.ellipse([px - CIRCLE, py - CIRCLE, px + CIRCLE, py + CIRCLE], outline=MARK)
            continue
        if marks.kind == "trace":
            points = list(zip((x - 0.5).tolist(), (y - 0.5).tolist(), strict=True))
            for start in range(0, len(points) - 1, 2):  # dashed: a cut-out has few rows, and the light is to be seen
                pen.line(points[start : start + 2], fill=MARK)
            continue
        across = np.isfinite(x[0])
        length, dash = (drawn.height, DASH) if across else (drawn.width, DASH)
        dash = length if marks.kind == "aperture" else dash
        for start in range(0, length, 2 * dash):
            ends = (start, min(start + dash, length) - 1)
            pen.line([x[0], ends[0], x[0], ends[1]] if across else [ends[0], y[0], ends[1], y[0]], fill=MARK)


def _svg(curves):
    """A curve as SVG for the inside of a page, in the page's colour of text."""
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}):
        figure = Figure(figsize=(3.6, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        draw_curves(axes, curves)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-z]+_\d+"', "", text)  # names of groups: several curves are in one page
    text = re.sub(r'font: ([^;"]*?)[\'"][^;"]*', r"font: \1sans-serif", text)
    return re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)
