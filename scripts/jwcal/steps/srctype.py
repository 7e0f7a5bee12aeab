"""Say whether a source is a point or extended: what is corrected for light lost outside the slit, and what is extracted, depends on it."""

from typing import Literal

from ..machine.parts import part

PARTS = {
    "kind": {
        "": "arithmetic/spectra_calibration/one_target",
        "field": "arithmetic/grism/source_types",
        "primary": "arithmetic/spectra_calibration/target_in_one_slit",
        "shutters": "arithmetic/spectra_calibration/targets_in_shutters",
    }
}


def apply(
    exposure,
    refs=None,
    kind: str = "",
    unknown: str = "POINT",
    pattern: str = "PATTTYPE",
    always_series: bool = False,
    *,
    source_type: Literal[None, "POINT", "EXTENDED"] = None,
):
    """Set SRCTYPE in the header of every slit.

    The first of these that is known: what the user asks for; the target is a background (BKGDTARG): EXTENDED; it is a time series:
    POINT; what the observer said (SRCTYAPT, or SRCTYPE of older files); the source is nodded along the slit: POINT; what most
    sources of the mode are. With several fixed slits that is the type in the slit with the target (FXD_SLIT); the others are EXTENDED. A
    source in the shutter array is EXTENDED if its stellarity is from 0 to 0.75, and POINT if it is above, or not known (negative).

    Parameters
    ----------
    exposure : Exposure
        Of spectra.
    refs
        None are needed.
    kind : str
        What the targets are in, one of PARTS; this and the next three are matters of the table of chains.
    unknown : {"POINT", "EXTENDED"}
        What most sources of the mode are.
    pattern : str
        Keyword of what the dithers are made for.
    always_series : bool
        The mode is a time series whatever TSOVISIT says, if there are several integrations.
    source_type : {"POINT", "EXTENDED"}, optional
        The user's choice.
    """
    part(PARTS["kind"], kind).set_types(exposure, source_type, unknown, pattern, always_series)
    return exposure
