"""Time of the association generator against the size of the program, as a curve; and against the peer on one of its own pools.

    python benchmarks/associations.py [--sizes 1000 5000 20000 50000] [--pool POOL.csv] [--plot FILE.png]

The programs are made up: imaging with mosaics, backgrounds and dithers, MIRI and NIRSpec integral field spectra with imprints and
nods, grism spectra with direct images, time series, coronagraphy with PSF references, in observations of a few dozen exposures.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jwcal import associations
from jwcal.associations.pool import make_items

ROOT = Path(__file__).resolve().parents[1]
PEER = "import sys; from jwst.associations.main import Main; Main.cli([sys.argv[1], '-p', sys.argv[2], '--all-candidates'])"
USUAL = {"pntgtype": "science", "visitype": "prime_targeted_fixed", "subarray": "full", "mostilno": "1", "tsovisit": "f"}


def observation(number):
    """The rows of one observation, the kind of which goes round with its number; four share a target and a candidate."""
    program, own = 1000 + number // 900, number % 900 + 1
    rows = []
    for count, columns in enumerate(KINDS[number % len(KINDS)](), 1):
        row = USUAL | {"program": str(program), "obs_num": str(own), "targetid": str(own // 4 + 1)} | columns
        row["filename"] = f"jw{program:05d}{own:03d}001_02101_{count:05d}_{row['detector']}_uncal.fits"
        row["obs_id"] = f"v{program:05d}{own:03d}001p0000000002101"
        row["asn_candidate"] = str([(f"o{own:03d}", "observation"), (f"c{1000 + own // 4}", row.pop("link", "mosaic"))])
        rows.append(row)
    return rows


def images():
    common = {"exp_type": "nrc_image", "instrume": "nircam", "pupil": "clear"}
    detectors = [f"nrc{module}{n}" for module in "ab" for n in (1, 2, 3, 4, "long")]
    return [
        common
        | {"detector": d, "channel": "long" if "long" in d else "short", "filter": f if "long" not in d else "f444w", "patt_num": str(n)}
        for f in ("f150w", "f200w")
        for n in (1, 2, 3)
        for d in detectors
    ]


def cubes():
    common = {"exp_type": "mir_mrs", "instrume": "miri", "patttype": "4-point", "link": "background"}
    return [
        common | {"detector": d, "channel": c, "band": b, "patt_num": str(n), "bkgdtarg": "t" if sky else "f", "targetid": str(900 + sky)}
        for sky in (False, True)
        for b in ("short", "medium", "long")
        for n in (1, 2, 3, 4)
        for d, c in (("mirifushort", "12"), ("mirifulong", "34"))
    ]


def nods():
    common = {"exp_type": "nrs_ifu", "instrume": "nirspec", "filter": "f170lp", "grating": "g235h", "patttype": "4-point-nod"}
    return [
        common | {"detector": d, "patt_num": str(n), "dithptin": str(n), "is_imprt": "t" if imprint else "f"}
        for imprint in (False, True)
        for n in (1, 2, 3, 4)
        for d in ("nrs1", "nrs2")
    ]


def grisms():
    common = {"instrume": "niriss", "detector": "nis", "pupil": "f200w"}
    image, spectrum = {"exp_type": "nis_image", "filter": "clear"}, {"exp_type": "nis_wfss", "filter": "gr150r"}
    kinds = [image, *[spectrum] * 4, image, *[spectrum | {"filter": "gr150c"}] * 4, image]
    return [common | kind | {"expspcin": str(n)} for n, kind in enumerate(kinds, 1)]


def series():
    common = {"exp_type": "nis_soss", "instrume": "niriss", "detector": "nis", "filter": "clear", "pupil": "gr700xd"}
    return [common | {"subarray": "substrip256", "tsovisit": "t", "nints": "200"} for _ in range(5)]


def coronagraphy():
    common = {"exp_type": "mir_4qpm", "instrume": "miri", "detector": "mirimage", "filter": "f1140c", "subarray": "mask1140"}
    return [
        common | {"is_psf": "t" if psf else "f", "link": "coronagraphy", "targetid": str(700 + psf)} for psf in (0, 1) for _ in range(9)
    ]


KINDS = (images, cubes, nods, grisms, series, coronagraphy)


def program(size):
    """A pool of about `size` exposures."""
    rows, number = [], 0
    while len(rows) < size:
        rows += observation(number)
        number += 1
    return rows[:size]


def curve(sizes):
    """[(exposures, associations, s)], printed as they come."""
    found = []
    print(f"{'exposures':>10} {'associations':>13} {'CPU s':>8} {'us an exposure':>15}")
    for size in sizes:
        rows = program(size)
        began = time.process_time()
        pool = associations.Pool(make_items(rows), "made up")
        made = associations.generate(pool, discover=True)
        took = time.process_time() - began
        found.append((size, len(made), took))
        print(f"{size:>10} {len(made):>13} {took:>8.2f} {took / size * 1e6:>15.0f}", flush=True)
    slowest = max(took for _, _, took in found)
    for size, _, took in found:
        print(f"{size:>10} {'#' * max(1, round(60 * took / slowest))}")
    return found


def against_peer(path):
    """Both generators on one pool, each with its files written."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        pool = associations.read(path)
        associations.write(associations.generate(pool), Path(folder, "ours"))
        ours = time.perf_counter() - began
        python, began = ROOT / ".venv-peer/bin/python", time.perf_counter()
        Path(folder, "peer").mkdir()
        subprocess.run([python, "-c", PEER, str(path), str(Path(folder, "peer"))], check=True, capture_output=True)
        peer = time.perf_counter() - began
    print(f"{Path(path).name}: {len(pool.items)} exposures: {ours:.2f} s, the peer {peer:.1f} s: {peer / ours:.0f} times as fast")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 5000, 10000, 20000, 50000])
    parser.add_argument("--pool", help="run both on this pool (without macros)")
    parser.add_argument("--plot", help="draw the curve to this file")
    options = parser.parse_args()
    found = curve(options.sizes)
    if options.plot:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        axes.plot([size for size, _, _ in found], [took for _, _, took in found], "o-")
        axes.set(xlabel="exposures", ylabel="s", xlim=(0, None), ylim=(0, None))
        figure.savefig(options.plot)
    if options.pool:
        against_peer(options.pool)


if __name__ == "__main__":
    sys.exit(main())
