"""Pictures of products: `python -m jwcal.report.preview RESULTS` writes PNGs to RESULTS/previews."""

import argparse
import sys
from pathlib import Path

import numpy as np

from ..errors import JwcalError
from ..products import read, root_and_suffix

SUFFIXES = ("rate", "cal", "i2d")


def picture(path, png):
    """A product's first image, with its units and how many pixels are flagged.

    Parameters
    ----------
    path : path
        A product with an image.
    png : path
    """
    import matplotlib

    matplotlib.use("Agg")
    from astropy.stats import sigma_clipped_stats
    from astropy.visualization import AsinhStretch, ImageNormalize
    from matplotlib import pyplot

    exposure = read(path)
    image = exposure.sci if exposure.sci.ndim == 2 else exposure.sci[0]
    good = image[np.isfinite(image)]
    if good.size == 0:
        raise JwcalError("no pixel has a value, so there is nothing to draw", path)
    _, sky, noise = sigma_clipped_stats(good, sigma=3, maxiters=3)
    norm = ImageNormalize(vmin=sky - 2 * noise, vmax=max(np.percentile(good, 99.8), sky + 20 * noise), stretch=AsinhStretch(0.15))
    figure, axes = pyplot.subplots(figsize=(6.4, 6), layout="constrained")
    colours = pyplot.get_cmap("inferno").with_extremes(bad="#4477aa")
    drawn = axes.imshow(image, origin="lower", norm=norm, cmap=colours, interpolation="nearest")
    figure.colorbar(drawn, label=exposure.header.get("BUNIT", ""), shrink=0.85)
    header = exposure.header
    axes.set_title(f"{Path(path).name}\n{header.get('DETECTOR', '')} {header.get('FILTER', '')} {header.get('EXP_TYPE', '')}", fontsize=9)
    axes.set_xlabel(_caption(exposure, image), fontsize=8)
    png.parent.mkdir(parents=True, exist_ok=True)
    # no software version or date in the file: the same product gives the same bytes
    figure.savefig(png, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _caption(exposure, image):
    flagged = "" if exposure.dq is None else f", {np.mean(exposure.dq & 1 != 0):.2%} of the pixels DO_NOT_USE"
    return f"{image.shape[1]} x {image.shape[0]} pixels{flagged}; blue: no value"


def main(arguments=None):
    """Draw the first product of each kind (or all of them); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jwcal.report.preview", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--all", action="store_true", help="every product, not the first of each kind")
    options = parser.parse_args(arguments)
    drawn = []
    for suffix in SUFFIXES:
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
