"""Names of members and of products."""

import re

from .rules import condition, names_of

RAW = re.compile(r"(?P<root>.+)_uncal(?P<extension>\..+)")
SUFFIX = re.compile(r"_(?:uncal|rate|rateints|cal|calints|x1d|x1dints)$")
OPTICS = (("filter",), ("pupil", "grating"))
IMAGES = (("filter", "band"), ("pupil", "grating"))


def root(name):
    """A file's name without extension and suffix: what the products of the exposure are called."""
    return SUFFIX.sub("", name.rpartition("/")[-1].rsplit(".", 1)[0])


def member_name(rule, item, kind):
    """The file that an exposure is a member as.

    Parameters
    ----------
    rule : rules.Rule
    item : Item
    kind : str
        Its type as a member.

    Returns
    -------
    str
        The raw file's own name where that does not end in _uncal.
    """
    raw = RAW.fullmatch(item.filename)
    if not raw:
        return item.filename
    if rule.stage == 2:
        suffix = "rate"
    elif kind == "background":
        suffix = "x1d"
    else:
        suffix = "cal" if item.get("exp_type") in names_of("calibrated") else "rate"
    return f"{raw['root']}_{suffix}{'ints' if _has_integrations(rule, item) else ''}{raw['extension']}"


def _has_integrations(rule, item):
    if condition("integrations").fits(item):
        return True
    return not rule.averages_coronagraphy and condition("coronagraphy").fits(item)


def target_name(target):
    """t001; t000 where there is none."""
    return f"t{target or '':0>3}"


def product_name(rule, asn_id, shared, slits=()):
    """The name of a stage 3 product.

    Parameters
    ----------
    rule : rules.Rule
    asn_id : str
    shared : dict
        Column -> value that the members share.
    slits : iterable of str
        Of all members.

    Returns
    -------
    str
        Without suffix, in lower case.
    """
    subarray = shared.get("subarray")
    return rule.template.format(
        program=f"{shared['program']:0>5}",
        id=asn_id,
        target=target_name(shared.get("target") or shared.get("targetid")),
        instrument=shared["instrume"],
        optics=optics_name([shared.get(column) for columns in OPTICS for column in columns]),
        slit="".join(f"-{slit}" for slit in sorted(set(slits))),
        subarray=f"-{subarray}" if subarray not in (None, "full") else "",
        detector=shared.get("detector"),
        activity=f"{shared.get('act_id') or '':0>2}",
    ).lower()


def optics_name(elements):
    """Optical elements in the order of the alphabet; "clear" where there is none."""
    return "-".join(sorted(element for element in elements if element)) or "clear"


def direct_image_name(rule, asn_id, shared, image):
    """The name of the mosaic of a direct image: of its own optics, but of the spectrum's subarray where the rule looks at that."""
    columns = [("filter",)] if image.get("instrume") == "miri" else IMAGES
    elements = [next((image.get(c) for c in either if image.get(c)), None) for either in columns]
    subarray = shared.get("subarray")
    return (
        f"jw{shared['program']:0>5}-{asn_id}_{target_name(shared['target'])}_{shared['instrume']}_{optics_name(elements)}"
        f"{f'-{subarray}' if subarray not in (None, 'full') else ''}"
    ).lower()
