"""Association pools for tests: a few rows for each mode, as the archive has them.

rows = pools.nodded_ifu() + pools.images(observation=2)
pool = pools.pool(rows)
"""

from jwcal import associations
from jwcal.associations.pool import make_items

COLUMNS = (
    *("filename", "program", "obs_num", "obs_id", "visit", "visitype", "act_id", "exp_type", "instrume", "detector", "channel", "targetid"),
    *("pntgtype", "expspcin", "dithptin", "mostilno", "filter", "pupil", "patttype", "numdthpt", "subpxpts", "patt_num", "subarray"),
    *("grating", "fxd_slit", "band", "msastate", "msametfl", "opmode", "lamp", "nints", "dms_note", "asn_candidate", "exposerr"),
    *("is_psf", "is_imprt", "bkgdtarg", "tsovisit"),
)
USUAL = {"program": "4321", "visit": "1", "visitype": "prime_targeted_fixed", "act_id": "01", "targetid": "1", "pntgtype": "science"} | {
    **{"expspcin": "1", "dithptin": "1", "mostilno": "1", "patttype": "none", "subarray": "full", "nints": "1"},
    **dict.fromkeys(("is_psf", "is_imprt", "bkgdtarg", "tsovisit"), "f"),
}


def row(observation, exposure, links=(), **columns):
    """One exposure; `links` are (id, type) beside that of its observation."""
    given = dict.fromkeys(COLUMNS, "null") | USUAL | {"obs_num": str(observation)} | {k: str(v) for k, v in columns.items()}
    given["obs_id"] = f"v04321{observation:03d}001p00000000021{given['act_id']}"
    given["filename"] = name(observation, exposure, given["detector"], given["act_id"]) + "_uncal.fits"
    given["asn_candidate"] = str([(f"o{observation:03d}", "observation"), *links])
    return given


def name(observation, exposure, detector, activity="01"):
    """What the products of an exposure are called."""
    return f"jw04321{observation:03d}001_021{activity}_{exposure:05d}_{detector}"


def pool(rows):
    """The pool with these rows."""
    return associations.Pool(make_items(rows), "test")


def write(path, rows, columns=COLUMNS):
    """Write a pool as the archive does."""
    lines = ["|".join(columns), *("|".join(row[column] for column in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def by_product(made):
    """{(id, product): {type: [member names without the program's part]}}."""
    found = {}
    for association in made:
        members = {}
        for member in association.members:
            members.setdefault(member.exptype, []).append(member.expname)
        found[association.asn_id, association.product] = {exptype: sorted(names) for exptype, names in members.items()}
    return found


# --- modes

NIRCAM = {"instrume": "nircam", "pupil": "clear", "filter": "f200w"}
MIRI = {"instrume": "miri", "detector": "mirimage"}
NIRISS = {"instrume": "niriss", "detector": "nis"}
NIRSPEC = {"instrume": "nirspec"}


def images(observation=1, count=2, links=(), **columns):
    """Dithers of one NIRCam detector."""
    given = {"exp_type": "nrc_image", "detector": "nrca1", "channel": "short"} | NIRCAM | columns
    return [row(observation, n, links, patt_num=n, **given) for n in range(1, count + 1)]


def sky_cubes(observation=1, count=2, links=(), **columns):
    """Dithers of both MRS detectors."""
    given = {"exp_type": "mir_mrs", "instrume": "miri", "patttype": "4-point", "band": "short"} | columns
    detectors = (("mirifushort", "12"), ("mirifulong", "34"))
    return [row(observation, n, links, detector=d, channel=c, patt_num=n, **given) for n in range(1, count + 1) for d, c in detectors]


def ifu(observation=1, count=4, imprints=0, links=(), **columns):
    """NIRSpec IFU dithers, each with its imprint after it as far as there are imprints."""
    given = (
        {"exp_type": "nrs_ifu", "detector": "nrs1", "grating": "prism", "filter": "clear", "patttype": "4-point-nod"} | NIRSPEC | columns
    )
    rows = []
    for n in range(1, count + 1):
        rows.append(row(observation, n, links, patt_num=n, dithptin=n, **given))
        if n <= imprints:
            rows.append(row(observation, 50 + n, links, patt_num=n, dithptin=n, is_imprt="t", **given))
    return rows


def slits(observation=1, points=3, subpixels=1, links=(), **columns):
    """NIRSpec fixed slit nods."""
    given = (
        {"exp_type": "nrs_fixedslit", "detector": "nrs1", "grating": "g235h", "filter": "f170lp", "fxd_slit": "s400a1"} | NIRSPEC | columns
    )
    steps = {"numdthpt": points * subpixels, "subpxpts": subpixels}
    return [row(observation, n, links, patt_num=n, **(given | steps | columns)) for n in range(1, points * subpixels + 1)]


def shutters(observation=1, points=3, subpixels=1, **columns):
    """NIRSpec MSA nods, and the mirror image before them."""
    given = {"exp_type": "nrs_msaspec", "detector": "nrs1", "filter": "clear"} | NIRSPEC
    steps = {"numdthpt": points * subpixels, "subpxpts": subpixels, "msametfl": "a_msa.fits", "grating": "prism"} | columns
    mirror = row(observation, 99, grating="mirror", msastate="primarypark_allopen", **given)
    return [mirror, *(row(observation, n, patt_num=n, **given, **steps) for n in range(1, points * subpixels + 1))]


def slit_nods(observation=1, links=(), confirm=True, **columns):
    """MIRI low resolution nods, with the image that confirms the target before them."""
    given = {"exp_type": "mir_lrs-fixedslit", "filter": "p750l", "patttype": "along-slit-nod", "numdthpt": "2"} | MIRI | columns
    before = [row(observation, 9, links, exp_type="mir_taconfirm", filter="f560w", act_id="07", **MIRI)] if confirm else []
    return before + [row(observation, n, links, patt_num=n, **given) for n in (1, 2)]


def grisms(observation=1, **columns):
    """NIRISS: direct image, two spectra, direct image, two spectra of the other grism, direct image."""
    image, spectrum = {"exp_type": "nis_image", "filter": "clear"}, {"exp_type": "nis_wfss", "filter": "gr150r"}
    other = spectrum | {"filter": "gr150c"}
    kinds = [(image, 1), (spectrum, 2), (spectrum, 2), (image, 3), (other, 4), (other, 4), (image, 5)]
    return [
        row(observation, n, expspcin=spec, pupil="f115w", act_id=f"{spec:02d}", **(kind | NIRISS | columns))
        for n, (kind, spec) in enumerate(kinds, 1)
    ]


def spectra_and_image(kind, observation=1):
    """NIRCam or MIRI: a grism spectrum between two direct images."""
    if kind == "nircam":
        image = NIRCAM | {"exp_type": "nrc_image", "detector": "nrcalong", "channel": "long", "filter": "f444w"}
        spectrum = image | {"exp_type": "nrc_wfss", "pupil": "grismr"}
    else:
        image = MIRI | {"exp_type": "mir_image", "filter": "f560w"}
        spectrum = MIRI | {"exp_type": "mir_wfss", "filter": "p750l"}
    return [row(observation, n, expspcin=n, act_id=f"0{n}", **its) for n, its in enumerate((image, spectrum, image), 1)]


def parallels(observation=1):
    """NIRCam grism spectra in pure parallel: direct image and two grisms are three observations without a target."""
    links, given = [("c1000", "direct_image")], {"instrume": "nircam", "filter": "f322w2", "targetid": "null", "visitype": "parallel_pure"}
    rows = [row(observation, 1, links, exp_type="nrc_image", detector=d, pupil="clear", **given) for d in ("nrca1", "nrcalong", "nrcblong")]
    rows[0]["filter"] = "f150w"
    for number, grism in enumerate(("grismr", "grismc"), 1):
        rows += [
            row(observation + number, 1, links, exp_type="nrc_wfss", detector=d, pupil=grism, **given) for d in ("nrcalong", "nrcblong")
        ]
    return rows


def series(observation=1, segments=3, **columns):
    """Segments of a NIRISS SOSS time series, with its target acquisition."""
    given = (
        {"exp_type": "nis_soss", "filter": "clear", "pupil": "gr700xd", "subarray": "substrip256", "tsovisit": "t", "nints": "100"}
        | NIRISS
        | columns
    )
    rows = [row(observation, 1, exp_type="nis_tacq", filter="f480m", pupil="nrm", tsovisit="t", act_id="02", **NIRISS)]
    for segment in range(1, segments + 1):
        rows.append(row(observation, 1, **given))
        rows[-1]["filename"] = rows[-1]["filename"].replace("_00001_", f"_00001-seg{segment:03d}_")
    return rows


def coronagraphy(links=(("c1000", "coronagraphy"),), **columns):
    """MIRI: a target in two observations, and a PSF reference."""
    given = {"exp_type": "mir_4qpm", "filter": "f1140c", "subarray": "mask1140"} | MIRI | columns
    reference = row(3, 1, links, targetid="2", is_psf="t", **given)
    return [row(1, 1, links, **given), row(2, 1, links, **given), reference]


def full_frame_coronagraphy(links=(("c1000", "coronagraphy"),)):
    """NIRCam with its round mask, in a full frame: one detector sees through it, and one of another channel; PSF reference beside."""
    given = {"exp_type": "nrc_coron", "instrume": "nircam", "pupil": "maskrnd"}
    detectors = (("nrca1", "short", "f210m"), ("nrca2", "short", "f210m"), ("nrcalong", "long", "f335m"))
    return [
        row(o, 1, links, detector=d, channel=c, filter=f, is_psf="t" if o == 2 else "f", targetid=o, **given)
        for o in (1, 2)
        for d, c, f in detectors
    ]


def interferometry(links=(("c1000", "ami"),)):
    """NIRISS AMI with its PSF reference."""
    given = {"exp_type": "nis_ami", "filter": "f430m", "pupil": "nrm", "subarray": "sub80"} | NIRISS
    return [row(o, n, links, is_psf="t" if o == 2 else "f", targetid=o, **given) for o in (1, 2) for n in (1, 2)]


def wavefront_sensing(observation=1, note="null"):
    """Two pairs of dithers of one NIRCam detector."""
    given = {"exp_type": "nrc_image", "detector": "nrca3", "visitype": "prime_wfsc_routine", "patttype": "wfsc", "dms_note": note} | NIRCAM
    return [row(observation, n, act_id=f"0{act}", expspcin=act, patt_num=n, **given) for act in (1, 2) for n in (1, 2)]


def lamps(observation=1):
    """NIRSpec lamps: an image, a spectrum that falls on the detector, one that does not."""
    given = {"exp_type": "nrs_lamp", "filter": "opaque", "opmode": "fixedslit", "lamp": "flat3"} | NIRSPEC
    mirror = row(observation, 1, detector="nrs1", grating="mirror", **(given | {"opmode": "image"}))
    return [
        mirror,
        row(observation, 2, detector="nrs1", grating="g395h", **given),
        row(observation, 3, detector="nrs1", grating="g140h", **given),
    ]


BACKGROUND = (("c1000", "background"),)
MOSAIC = (("c1001", "mosaic"),)


def all_modes():
    """{mode: rows} of everything above, with backgrounds and mosaics."""
    return {
        "images": images(),
        "image background": images(1, links=BACKGROUND) + images(2, links=BACKGROUND, targetid=2, bkgdtarg="t"),
        "mosaic": images(1, links=MOSAIC) + images(2, links=MOSAIC, targetid=2),
        "group": images(1, links=(("c1000", "group"),)) + images(2, links=(("c1000", "group"),)),
        "parallel to a series": images(tsovisit="t"),
        "cubes": sky_cubes(1, links=BACKGROUND) + sky_cubes(2, links=BACKGROUND, targetid=2, bkgdtarg="t"),
        "nodded ifu": ifu(imprints=4),
        "dithered ifu": ifu(1, 2, 2, links=BACKGROUND, patttype="cycling")
        + ifu(2, 2, 2, BACKGROUND, patttype="cycling", targetid=2, bkgdtarg="t"),
        "ifu without light": ifu(detector="nrs2"),
        "slits": slits(),
        "slits with subpixels": slits(subpixels=2),
        "five points": slits(points=5, fxd_slit="s1600a1", subarray="subs1600a1"),
        "two slits": slits(fxd_slit="s200a1") + slits(2, fxd_slit="s200a2"),
        "slit background": slits(1, links=BACKGROUND) + slits(2, links=BACKGROUND, targetid=2, bkgdtarg="t"),
        "shutters": shutters(),
        "shutters with subpixels": shutters(subpixels=2),
        "shutters without metadata": shutters(msametfl="null"),
        "slit nods": slit_nods(),
        "slitless series": slit_nods(exp_type="mir_lrs-slitless", patttype="none", tsovisit="t", subarray="slitlessprism", nints="100"),
        "nods with a background": slit_nods(1, BACKGROUND) + slit_nods(2, BACKGROUND, False, targetid=2, bkgdtarg="t"),
        "grisms": grisms(),
        "NIRCam grisms": spectra_and_image("nircam"),
        "MIRI grisms": spectra_and_image("miri"),
        "parallels": parallels(),
        "series": series(),
        "series of images": images(exp_type="nrc_tsimage", tsovisit="t", nints="50", subarray="sub64p"),
        "series in F277W": series(filter="f277w"),
        "single integration": series(nints="1", segments=1),
        "no series": series(tsovisit="f", patttype="null"),
        "hartmann": series(exp_type="nrc_tsgrism", instrume="nircam", detector="nrca1", pupil="gdhs0", subarray="sub41stripe1_dhs"),
        "coronagraphy": coronagraphy(),
        "full frame coronagraphy": full_frame_coronagraphy(),
        "interferometry": interferometry(),
        "wavefront sensing": wavefront_sensing(),
        "jitter": wavefront_sensing(note="wfsc_los_jitter"),
        "lamps": lamps(),
        "guider images": [row(1, n, exp_type="fgs_image", instrume="fgs", detector="guider1") for n in (1, 2)],
        "error": images(exposerr="guide star lost"),
    }
