"""The keywords of a raw exposure, all of them consistent with each other and with the pointing."""

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np
import yaml
from astropy import constants
from astropy.coordinates import get_body_barycentric_posvel
from astropy.io import fits
from astropy.time import Time, TimeDelta

from . import instruments, pointing

DAY = 86400.0
L2 = 1.5e6  # km, from the Earth away from the Sun
LIGHT = constants.c.to_value("km/s")


@dataclass(frozen=True)
class Identity:
    """Where an exposure belongs, and so how it is called."""

    program: int = 1234
    observation: int = 1
    visit: int = 1
    visit_group: int = 2
    sequence: int = 1
    activity: str = "01"
    exposure: int = 1
    segment: tuple | None = None  # number, total, first and last integration, total of integrations

    @property
    def visit_id(self):
        return f"{self.program:05d}{self.observation:03d}{self.visit:03d}"

    def root(self, setup, start):
        """The file's name without suffix: jw01234001001_02101_00001_nrca1, or as guide star data are called."""
        if setup.guider:
            return f"jw{self.visit_id}_" + setup.product.format(start=start.strftime("%Y%j%H%M%S"), attempt=self.exposure)
        segment = f"-seg{self.segment[0]:03d}" if self.segment else ""
        return (
            f"jw{self.visit_id}_{self.visit_group:02d}{self.sequence}{self.activity}_{self.exposure:05d}{segment}_{setup.detector.lower()}"
        )


@dataclass(frozen=True)
class Spacecraft:
    """Where the telescope is and how it moves, in the ICRS: Earth's place and the Earth-Sun line's L2 point."""

    time: Time
    position: np.ndarray  # km, barycentric
    velocity: np.ndarray  # km/s
    geocentric: np.ndarray  # km
    geocentric_velocity: np.ndarray  # km/s
    sun: np.ndarray  # km, barycentric

    def towards(self, ra, dec):
        """Radial velocity towards a direction [km/s], the velocity aberration's scale, and the apparent RA, Dec [deg]."""
        n = direction(ra, dec)
        beta = self.velocity / LIGHT
        along = float(beta @ n)
        gamma = 1 / np.sqrt(1 - beta @ beta)
        apparent = (n / gamma + beta * (1 + gamma / (1 + gamma) * along)) / (1 + along)
        scale = gamma * (1 + along)
        return along * LIGHT, scale, (np.degrees(np.arctan2(apparent[1], apparent[0])) % 360, np.degrees(np.arcsin(apparent[2])))


def spacecraft(time):
    """The telescope at a time: on the line from the Sun through the Earth, beyond it, moving with the Earth."""
    (earth, speed), (sun, _) = (get_body_barycentric_posvel(body, time, ephemeris="builtin") for body in ("earth", "sun"))
    earth, speed = earth.xyz.to_value("km"), speed.xyz.to_value("km/s")
    sun = sun.xyz.to_value("km")
    away = (earth - sun) / np.linalg.norm(earth - sun)
    geocentric = L2 * away
    turning = L2 / np.linalg.norm(earth - sun) * (speed - (speed @ away) * away)
    return Spacecraft(time, earth + geocentric, speed + turning, geocentric, turning, sun)


def direction(ra, dec):
    ra, dec = np.radians(ra), np.radians(dec)
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


@cache
def _cards():
    return yaml.safe_load(resources.files(__package__).joinpath("headers.yaml").read_text())


def make_headers(setup, values):
    """The primary header and that of SCI.

    Parameters
    ----------
    setup : instruments.Setup
    values : dict
        Keyword -> value; None leaves a keyword out. A keyword that `headers.yaml` has no value for must be there;
        one that it has not at all is added to the primary header.

    Returns
    -------
    primary, science : fits.Header
    """
    kinds = {setup.instrument, "guider" if setup.guider else "science"}
    used = set()
    headers = []
    for part in ("primary", "science"):
        header = fits.Header()
        for section in _cards()[part]:
            used.update(keyword for keyword, *_ in section["cards"])
            cards = [c for c in section["cards"] if len(c) == 3 or c[3] in kinds]
            _section(header, section["title"], cards, values)
        headers.append(header)
    extra = set(values) - used
    for keyword in sorted(k for k in extra if values[k] is not None):
        headers[0][keyword] = values[keyword]
    return headers


def _section(header, title, cards, values):
    rows = [(k, values[k] if k in values else _known(k, value), comment) for k, value, comment, *_ in cards]
    rows = [row for row in rows if row[1] is not None]
    if not rows:
        return
    if title:
        for text in ("", title, ""):
            header.append(("", text), end=True)
    for keyword, value, comment in rows:
        header.append((keyword, value, comment[: _room(value)]), end=True)


def _room(value):
    """Characters that a card of 80 has left for the comment."""
    width = max(8, len(value.replace("'", "''"))) + 2 if isinstance(value, str) else 20
    return 67 - max(20, width) if width < 68 else None


def _known(keyword, value):
    if value is None:
        raise KeyError(f"no value for {keyword}")
    return value


def keywords(
    setup, look, identity, start, *, target, craft, dither, zeroframe=False, target_name="SIMULATED FIELD", planned=1, count=1, moving=False
):
    """Work out every keyword that is not the same in all exposures.

    Parameters
    ----------
    setup : instruments.Setup
    look : pointing.Pointing
    identity : Identity
    start : Time
        Of the first integration, UTC.
    target : (RA, Dec) [deg]
    craft : Spacecraft
    dither : dict
        `x`, `y` [arcsec], `number` and `total`; `pattern`: PATTTYPE.
    moving : bool
        The target is where it is in the middle of the exposure, and the telescope follows it.

    Returns
    -------
    dict
    """
    setup = whole(setup, identity)
    stop = start + TimeDelta(setup.readout.duration, format="sec")
    middle = start + (stop - start) / 2
    values = _identifiers(setup, identity, start, planned, count)
    values |= _times(setup, start, middle, stop, craft, target)
    values |= _readout(setup, zeroframe)
    values |= _configuration(setup)
    values |= _target(target, target_name)
    values |= _dither(dither)
    values |= _ephemeris(craft)
    values |= _wcs(setup, look)
    values |= _guide_star(setup, look, start, stop)
    va_ra, va_dec = craft.towards(look.ra_ref, look.dec_ref)[2]
    values |= {"VA_RA": va_ra, "VA_DEC": va_dec, "VA_SCALE": look.va_scale, "VELOSYS": round(-1e3 * craft.towards(*target)[0], 2)}
    values |= _moving_target(target) if moving else {"MT_RA": None, "MT_DEC": None}
    values |= setup.keywords
    return values


def whole(setup, identity):
    """The setup with all integrations of an exposure of which this is a segment: its times are those of the whole."""
    return replace(setup, readout=replace(setup.readout, nints=identity.segment[4])) if identity.segment else setup


def _identifiers(setup, identity, start, planned, count):
    activity = f"{identity.visit_group:02d}{identity.sequence}{identity.activity}"
    number, total, first, last, integrations = identity.segment or (None,) * 4 + (setup.readout.nints,)
    return {
        "FILENAME": identity.root(setup, start) + "_uncal.fits",
        "PRD_VER": _prd(),
        "SUBCAT": setup.instrument,
        "OBS_ID": f"V{identity.visit_id}P00000000{activity}",
        "VISIT_ID": identity.visit_id,
        "PROGRAM": f"{identity.program:05d}",
        "OBSERVTN": f"{identity.observation:03d}",
        "VISIT": f"{identity.visit:03d}",
        "VISITGRP": f"{identity.visit_group:02d}",
        "SEQ_ID": f"{identity.sequence}",
        "ACT_ID": identity.activity,
        "EXPOSURE": f"{identity.exposure}",
        "EXSEGNUM": number,
        "EXSEGTOT": total,
        "INTSTART": first,
        "INTEND": last,
        "NINTS": integrations,  # of the whole exposure
        "NEXPOSUR": 0 if setup.guider else planned,
        "EXPCOUNT": count,
        "EXP_TYPE": setup.exp_type,
        "OSF_FILE": f"{start.strftime('%Y%jT%H%M%S')}000_001_osf.xml",
        "HGA_STOP": None,
        "TEMPLATE": None,
    }


def _prd():
    instruments.siaf("NIRCAM")
    from pysiaf import JWST_PRD_VERSION

    return JWST_PRD_VERSION


def barycentric(time, craft, ra, dec, sun=False):
    """Time at the barycentre of the light that is here now: MJD in TDB, and its lead over UTC [s].

    The Roemer delay of the place's projection on the direction; with `sun`, counted from the Sun's centre.
    """
    place = craft.position - (craft.sun if sun else 0)
    moved = place + craft.velocity * (time - craft.time).to_value("s")
    delay = float(moved @ direction(ra, dec)) / LIGHT
    arrived = time.tdb.mjd + delay / DAY
    return arrived, (arrived - time.utc.mjd) * DAY


def _times(setup, start, middle, stop, craft, target):
    """Times of the exposure; the file itself is dated an hour after its end, so that its bytes don't depend on the clock."""
    visit, ready = start - TimeDelta(1800, format="sec"), stop + TimeDelta(3600, format="sec")
    barycentres = [barycentric(t, craft, *target) for t in (start, middle, stop)]
    suns = [barycentric(t, craft, *target, sun=True) for t in (start, middle, stop)]
    effective = round(setup.readout.effexptm, 3)
    return {
        "DATE": ready.isot,
        "DATE-OBS": start.isot[:10],
        "TIME-OBS": start.isot[11:],
        "DATE-BEG": start.isot,
        "DATE-END": stop.isot,
        "VSTSTART": _long(visit),
        "VISITEND": _long(ready),
        "EXPSTART": start.mjd,
        "EXPMID": middle.mjd,
        "EXPEND": stop.mjd,
        "MJD-BEG": start.mjd,
        "MJD-AVG": middle.mjd,
        "MJD-END": stop.mjd,
        "TDB-BEG": barycentres[0][0],
        "TDB-MID": barycentres[1][0],
        "TDB-END": barycentres[2][0],
        "BSTRTIME": barycentres[0][0],
        "BMIDTIME": barycentres[1][0],
        "BENDTIME": barycentres[2][0],
        "BARTDELT": barycentres[1][1],
        "HSTRTIME": suns[0][0],
        "HMIDTIME": suns[1][0],
        "HENDTIME": suns[2][0],
        "HELIDELT": suns[1][1],
        "XPOSURE": effective,
        "TELAPSE": round(setup.readout.duration, 3),
    }


def _long(time):
    return f"{time.iso}0000"


def _readout(setup, zeroframe):
    r = setup.readout
    return {
        "READPATT": r.readpatt,
        "NOUTPUTS": setup.subarray.noutputs,
        "NGROUPS": r.ngroups,
        "NFRAMES": r.nframes,
        "FRMDIVSR": r.divisor,
        "GROUPGAP": r.groupgap,
        "DRPFRMS1": r.drpfrms1,
        "DRPFRMS3": r.drpfrms3,
        "NSAMPLES": r.nsamples,
        "TFRAME": r.tframe,
        "TGROUP": round(r.tgroup, 9),
        "EFFINTTM": round(r.effinttm, 9),
        "EFFEXPTM": round(r.effexptm, 3),
        "DURATION": round(r.duration, 3),
        "NRESETS": r.nresets,
        "ZEROFRAM": zeroframe,
        "DATAMODE": 33,
    }


def _configuration(setup):
    """What is in the beam, and which part of the detector is read; what an instrument has not is not in its header."""
    sub = setup.subarray
    return {
        "INSTRUME": setup.instrument,
        "DETECTOR": setup.detector,
        "FILTER": setup.filter,
        "PUPIL": setup.pupil,
        "CHANNEL": None,
        "BAND": None,
        "CORONMSK": "NONE" if setup.instrument == "NIRCAM" else None,
        "GRATING": None,
        "FXD_SLIT": "NONE" if setup.instrument == "NIRSPEC" else None,
        "OPMODE": "FIXEDSLIT" if setup.instrument == "NIRSPEC" else None,
        "MSAMETFL": None,
        "SCA_NUM": setup.detector_table["sca"],
        "SUBARRAY": sub.name,
        "SUBSTRT1": sub.xstart,
        "SUBSTRT2": sub.ystart,
        "SUBSIZE1": sub.xsize,
        "SUBSIZE2": sub.ysize,
        "FASTAXIS": setup.axes[0],
        "SLOWAXIS": setup.axes[1],
        "APERNAME": setup.aperture,
        "PPS_APER": "" if setup.guider else setup.aperture,
    }


def _target(target, name):
    ra, dec = (float(c) for c in target)
    return {"TARGPROP": name, "TARGNAME": name, "TARG_RA": ra, "TARG_DEC": dec, "PROP_RA": ra, "PROP_DEC": dec}


def _moving_target(target):
    ra, dec = (float(c) for c in target)
    return {"TARGTYPE": "MOVING", "VISITYPE": "PRIME_TARGETED_MOVING", "MT_RA": ra, "MT_DEC": dec}


def _dither(dither):
    total = dither.get("total", 1)
    return {
        "PATTTYPE": "NONE" if total == 1 else dither.get("pattern", "INTRAMODULEBOX"),
        "PRIDTYPE": "NONE" if total == 1 else f"{total}",
        "PRIDTPTS": total,
        "NUMDTHPT": total,
        "PATT_NUM": dither.get("number", 1),
        "XOFFSET": float(dither.get("x", 0.0)),
        "YOFFSET": float(dither.get("y", 0.0)),
    }


def _ephemeris(craft):
    values = {"EPH_TIME": craft.time.mjd}
    for k, axis in enumerate("XYZ"):
        values[f"JWST_{axis}"] = craft.position[k]
        values[f"OBSGEO-{axis}"] = 1e3 * craft.geocentric[k]
        values[f"JWST_D{axis}"] = craft.velocity[k]
        values[f"OBSGEOD{axis}"] = 1e3 * craft.geocentric_velocity[k]
    return {k: float(v) for k, v in values.items()}


def _wcs(setup, look):
    """The linear WCS about the aperture's reference point, and the reference angles that the full one is made from.

    Guide star data carry the plain aperture, as if north were up along V3: their headers never say how the telescope was rolled.
    """
    roll = 0.0 if setup.guider else look.roll_ref
    angle = np.radians(roll - look.vparity * look.v3i_yang)
    ra_v1, dec_v1, pa_v3 = boresight(look)
    series = setup.guider or setup.keywords.get("TSOVISIT", False)
    polygon = " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in zip(*look.corners(), strict=True))
    return {
        "CRPIX1": look.xref,
        "CRPIX2": look.yref,
        "CRVAL1": look.ra_ref,
        "CRVAL2": look.dec_ref,
        "CDELT1": look.xscale / 3600,
        "CDELT2": look.yscale / 3600,
        "PC1_1": look.vparity * np.cos(angle),
        "PC1_2": np.sin(angle),
        "PC2_1": -look.vparity * np.sin(angle),
        "PC2_2": np.cos(angle),
        "S_REGION": f"POLYGON ICRS  {polygon}",
        "V2_REF": look.v2_ref,
        "V3_REF": look.v3_ref,
        "VPARITY": look.vparity,
        "V3I_YANG": look.v3i_yang,
        "XREF_SCI": look.xref if series else None,
        "YREF_SCI": look.yref if series else None,
        "RA_REF": look.ra_ref % 360,
        "DEC_REF": look.dec_ref,
        "ROLL_REF": look.roll_ref,
        "RA_V1": ra_v1,
        "DEC_V1": dec_v1,
        "PA_V3": pa_v3,
        "PA_APER": 0.0 if setup.guider else look.pa_aper,
    }


def boresight(look):
    """RA, Dec of V1 and the position angle of V3 there [deg]."""
    turn = pointing.rotations()
    ra, dec = turn.pointing(look.attitude, 0.0, 0.0)
    return float(ra) % 360, float(dec), float(turn.posangle(look.attitude, 0.0, 0.0)) % 360


def _guide_star(setup, look, start, stop):
    """A guide star in the middle of a guider; its own exposures see it where they look."""
    guider = instruments.siaf("FGS")["FGS1_FULL"]
    ra, dec = pointing.rotations().pointing(look.attitude, guider.V2Ref, guider.V3Ref)
    if setup.guider:
        ra, dec = look.ra_ref, look.dec_ref
    return {
        "GDSTARID": "N4E8000001",
        "GS_RA": float(ra) % 360,
        "GS_DEC": float(dec),
        "GS_V3_PA": boresight(look)[2],
        "GSSTRTTM": _long(start - TimeDelta(900, format="sec")),
        "GSENDTIM": _long(start - TimeDelta(600, format="sec")),
        "GF_START": _long(start),
        "GF_END": _long(stop),
        "DATASTRT": start.mjd,
        "DATAEND": stop.mjd,
    }
