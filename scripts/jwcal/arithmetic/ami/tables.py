"""The tables of an OIFITS 2 file (Duvert, Young & Hummel 2017, A&A 597, A8), and OI_Q4 for closure amplitudes, which is jwst's.

A baseline, triple or quadruple has a row for each integration or exposure: its NWAVE is 1.
"""

from dataclasses import dataclass

import numpy as np

VIS = ("VISAMP", "VISAMPERR", "VISPHI", "VISPHIERR")
T3 = ("T3AMP", "T3AMPERR", "T3PHI", "T3PHIERR")
Q4 = ("Q4AMP", "Q4AMPERR", "Q4PHI", "Q4PHIERR")
DEGREE = 180 / np.pi  # of a radian


@dataclass
class Seen:
    """What the tables say of an exposure beside its observables.

    Attributes
    ----------
    mask : mask.Mask
    on_sky : (hole, 2), u and v [m]
    bandpass : bandpass.Bandpass
    pixel : float, rad
    size : int, pixels of the images
    header : exposure.Header
    """

    mask: object
    on_sky: np.ndarray
    bandpass: object
    pixel: float
    size: int
    header: object


def of(seen, observables, mjd, seconds, pistons=None, skies=None):
    """All tables.

    Parameters
    ----------
    seen : Seen
    observables : list of observables.Observables
        The means of integrations or exposures, or single ones.
    mjd, seconds : list of float
        The middle and the exposure time of each.
    pistons : dict, optional
        Columns of OI_ARRAY in place of PISTONS and PIST_ERR: (hole,) or (hole, n), deg.
    skies : list of (hole, 2), optional
        u and v of each, where they are of several rolls.

    Returns
    -------
    dict
        Name of the extension -> structured array.
    """
    mask = seen.mask
    pairs, triples, quadruples = mask.pairs, mask.triples, mask.quadruples
    when = list(zip(observables, mjd, seconds, skies or [seen.on_sky] * len(observables), strict=True))

    def rows(names, values, holes, sides):
        """One after the other: all baselines of the first, of the second..."""
        kinds = [("TARGET_ID", "i2"), ("TIME", "f8"), ("MJD", "f8"), ("INT_TIME", "f8"), *((name, "f8") for name in names)]
        ends = [""] if len(sides) == 1 else [str(k + 1) for k in range(len(sides))]
        kinds += [(f"{axis}{end}COORD", "f8") for end in ends for axis in "UV"]
        kinds += [("STA_INDEX", "i2", (holes.shape[1],)), ("FLAG", "?")]
        parts = []
        for one, moment, length, uv in when:
            table = np.zeros(len(holes), kinds)
            table["TARGET_ID"], table["MJD"], table["INT_TIME"] = 1, moment, length
            for name, column in zip(names, values(one), strict=True):
                table[name] = column
            for end, (first, second) in zip(ends, sides, strict=True):
                table[f"U{end}COORD"], table[f"V{end}COORD"] = (uv[holes[:, first]] - uv[holes[:, second]]).T
            table["STA_INDEX"] = holes + 1
            table["FLAG"] = ~np.isfinite([table[name] for name in names if not name.endswith("ERR")]).all(axis=0)
            parts.append(table)
        return np.concatenate(parts)

    def polar(kind):
        return lambda one: (one.amp[kind], one.amp_err[kind], one.phase[kind] * DEGREE, one.phase_err[kind] * DEGREE)

    tables = {"OI_ARRAY": _array(seen, when if pistons is None else None, pistons or {})}
    tables["OI_TARGET"] = _target(seen.header)
    tables["OI_VIS"] = rows(VIS, polar("vis"), pairs, [(0, 1)])
    tables["OI_VIS2"] = rows(("VIS2DATA", "VIS2ERR"), lambda one: (one.vis2, one.vis2_err), pairs, [(0, 1)])
    tables["OI_T3"] = rows(T3, polar("t3"), triples, [(0, 1), (1, 2)])
    if len(quadruples):
        tables["OI_Q4"] = rows(Q4, polar("q4"), quadruples, [(k, (k + 1) % 4) for k in range(4)])
    wave = np.zeros(1, [("EFF_WAVE", "f4"), ("EFF_BAND", "f4")])
    wave["EFF_WAVE"], wave["EFF_BAND"] = seen.bandpass.centre, seen.bandpass.width
    tables["OI_WAVELENGTH"] = wave
    return tables


def column_of(every, name):
    """Pistons of several, as a column: (hole,) of one, (hole, n) of more; deg."""
    values = np.array([getattr(one, name) for one in every]).T * DEGREE
    return values[:, 0] if len(every) == 1 else values


def _array(seen, when, pistons):
    """The holes as an array of telescopes."""
    if when is not None:
        every = [one for one, *_ in when]
        pistons = {"PISTONS": column_of(every, "pistons"), "PIST_ERR": column_of(every, "pistons_err")}
    count = len(seen.mask.holes)
    kinds = [("TEL_NAME", "S16"), ("STA_NAME", "S16"), ("STA_INDEX", "i2"), ("DIAMETER", "f4"), ("STAXYZ", "f8", (3,)), ("FOV", "f8")]
    kinds += [("FOVTYPE", "S6"), ("CTRS_EQT", "f8", (2,))]
    kinds += [(name, "f8", column.shape[1:]) for name, column in pistons.items()]
    table = np.zeros(count, kinds)
    table["TEL_NAME"] = table["STA_NAME"] = [f"A{k}".encode() for k in range(1, count + 1)]
    table["STA_INDEX"] = np.arange(1, count + 1)
    table["DIAMETER"] = seen.mask.width
    table["STAXYZ"][:, :2] = seen.mask.holes
    table["FOV"] = seen.pixel * DEGREE * 3600 * seen.size / 2
    table["FOVTYPE"] = b"RADIUS"
    table["CTRS_EQT"] = seen.on_sky[:, ::-1]
    for name, column in pistons.items():
        table[name] = column
    return table


def name_of(header):
    """What the target is called: its name in catalogues, or the proposer's."""
    names = [str(header.get(keyword) or "").strip() for keyword in ("TARGNAME", "TARGPROP")]
    return next((name.replace("-", " ") for name in names if name and name.upper() != "UNKNOWN"), "UNKNOWN")


def _target(header):
    def number(keyword):
        return float(header.get(keyword) or 0.0)

    values = {
        "TARGET_ID": ("i2", 1),
        "TARGET": ("S32", name_of(header).encode("ascii", "replace")[:32]),
        "RAEP0": ("f8", number("TARG_RA")),
        "DECEP0": ("f8", number("TARG_DEC")),
        "EQUINOX": ("f4", 2000),
        "RA_ERR": ("f8", number("TARGURA") / 3600),
        "DEC_ERR": ("f8", number("TARGUDEC") / 3600),
        "SYSVEL": ("f8", 0),
        "VELTYP": ("S8", b"UNKNOWN"),
        "VELDEF": ("S8", b"OPTICAL"),
        "PMRA": ("f8", number("MU_RA") / 3600),
        "PMDEC": ("f8", number("MU_DEC") / 3600),
        "PMRA_ERR": ("f8", 0),
        "PMDEC_ERR": ("f8", 0),
        "PARALLAX": ("f4", 0),
        "PARA_ERR": ("f4", 0),
        "SPECTYP": ("S32", b"UNKNOWN"),
    }
    table = np.zeros(1, [(name, kind) for name, (kind, _) in values.items()])
    for name, (_, value) in values.items():
        table[name] = value
    return table
