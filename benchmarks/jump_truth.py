"""Jumps found and false flags over five decades of flux, by the two searches of the jump step: the table and the figure of docs/jump.md.

    python benchmarks/jump_truth.py [--pixels 1000000] [--figure docs/jump_detection.png]

Ramps and hits are those of tests/truth_ramps.py.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import truth_ramps as truth  # noqa: E402

CHUNK = 200_000  # pixels at a time
SEARCHES = {"two-point": "rejection_threshold", "likelihood": "likelihood_threshold"}
COLOURS = {"two-point": "#b5541c", "likelihood": "#1c6bb5"}
CURVES = {0.1: "-", 3.0: "--", 1000.0: ":"}  # electrons/s
THRESHOLDS = {"two-point": (3.0, 3.3, 3.6, 4.0, 4.4, 4.8), "likelihood": (2.9, 3.2, 3.5, 3.7, 3.95, 4.2, 4.5)}
SMALL = truth.BINS.index((4, 6))


def measure(flux, npixels, settings, folder):
    """Share of hits found in each bin, and false flags a million groups, of each (search, threshold or None for the default)."""
    parts = []
    for seed in range(max(1, npixels // CHUNK)):
        ramps = truth.simulate(flux, min(npixels, CHUNK), seed=100 + seed)
        given = [{"detection": name} | ({SEARCHES[name]: value} if value else {}) for name, value in settings]
        found = [truth.rate_search(ramps, truth.search(folder, ramps, **parameters)) for parameters in given]
        parts.append([(*f.recall, f.false) for f in found])
    return dict(zip(settings, np.mean(parts, axis=0), strict=True))


def table(rows):
    """Markdown."""
    bins = " | ".join(f"{low}-{high} sigma" for low, high in truth.BINS[:3])
    lines = [f"| electrons/s | {bins} | false flags a million groups |", "|---|" + "---|" * 4]
    for flux in truth.FLUXES:
        pairs = [" / ".join(f"{rows[flux][name, None][b]:.3f}" for name in SEARCHES) for b in range(3)]
        false = " / ".join(f"{rows[flux][name, None][-1]:.1f}" for name in SEARCHES)
        lines.append(f"| {flux:g} | {' | '.join(pairs)} | {false} |")
    return "\n".join(lines)


def draw(rows, path):
    """Found and false against the flux at the default thresholds, and against each other with the thresholds varied."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (found, false, both) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for name, colour in COLOURS.items():
        values = np.array([rows[flux][name, None] for flux in truth.FLUXES])
        found.plot(truth.FLUXES, values[:, SMALL], "o-", color=colour, markersize=4, label=name)
        false.plot(truth.FLUXES, values[:, -1], "o-", color=colour, markersize=4)
        for flux, line in CURVES.items():
            curve = [rows[flux][name, threshold] for threshold in THRESHOLDS[name]]
            recall, wrong = np.array([(v[SMALL], v[-1]) for v in curve]).T
            label = f"{flux:g} e-/s" if name == "likelihood" else None
            both.plot(wrong, recall, line, color=colour, label=label)
            both.plot(rows[flux][name, None][-1], rows[flux][name, None][SMALL], "o", color=colour, markersize=5)
    found.set(xscale="log", ylim=(0.4, 1), xlabel="flux, electrons/s", ylabel="hits of 4 to 6 sigma that are found")
    false.set(xscale="log", yscale="log", ylim=(0.5, 1000), xlabel="flux, electrons/s", ylabel="false flags a million groups")
    both.set(
        xscale="log", xlim=(0.8, 5000), ylim=(0.2, 1), xlabel="false flags a million groups", ylabel="hits of 4 to 6 sigma that are found"
    )
    found.legend(frameon=False, loc="lower right")
    both.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pixels", type=int, default=1_000_000, help="of each flux")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs/jump_detection.png")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        defaults, curves = [(d, None) for d in SEARCHES], [(d, t) for d in SEARCHES for t in THRESHOLDS[d]]
        rows = {flux: measure(flux, asked.pixels, defaults + (curves if flux in CURVES else []), folder) for flux in truth.FLUXES}
    print(table(rows))
    draw(rows, asked.figure)


if __name__ == "__main__":
    main()
