"""Which pipelines an exposure goes through. Pure; the table and its rules are in `config/exp_types.yaml`."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from ..vocabulary.errors import ConfigError, InputError
from ..vocabulary.nearest import nearest, suggestion
from .tables import matches, table

PIPELINES = (
    *("detector1", "tso1", "dark", "guider"),
    *("image2", "tso-image2", "wfs-image2", "spec2", "tso-spec2", "nrslamp-spec2"),
    *("image3", "wfs-image3", "spec3", "ami3", "coron3", "tso3"),
)
STAGES = ("stage1", "stage2", "stage3")


@dataclass(frozen=True)
class Pipelines:
    """The pipelines of an exposure by stage, None where there is none."""

    stage1: str = None
    stage2: str = None
    stage3: str = None
    why: tuple = ()  # sentences: the row, then each rule that changed something
    series: bool = False  # whether the exposure is a time series

    def __iter__(self):
        return iter((self.stage1, self.stage2, self.stage3))


def select(exp_type, tsovisit=False, nints=1, visitype="", **header):
    """The pipelines of an exposure.

    Parameters
    ----------
    exp_type : str
    tsovisit : bool or str
        FITS logical: True, "T"...
    nints : int
    visitype : str
    **header
        Other keywords that rules ask for, in upper or lower case (PATTTYPE, FILTER, DETECTOR...); more do no harm.

    Returns
    -------
    Pipelines

    Raises
    ------
    InputError
        There is no row for this exp_type, or nints is no number.
    """
    exp_type = str(exp_type).strip().upper()
    rows = table("exp_types")["exp_types"]
    if exp_type not in rows:
        near = nearest(exp_type, rows)
        do = f"The nearest that is known is {near}" if near else "Correct the keyword or leave the file out"
        raise InputError(f"{exp_type or 'an empty EXP_TYPE'} is no EXP_TYPE of JWST", do=do)
    try:
        nints = int(nints)
    except (TypeError, ValueError):
        raise InputError(f"NINTS is {nints!r}", do="Correct the keyword, or take the file from the archive again") from None
    series, about = _is_series(exp_type, tsovisit, nints)
    row = rows[exp_type]
    if isinstance(row, dict):
        kind, row, because = ("series", row["series"], about) if series else ("single", row["single"], about)
        why = [f"row {exp_type}, {kind}: {because}"]
    else:
        why = [f"row {exp_type}"]
    stages = dict(zip(STAGES, [*row, None, None], strict=False))
    keywords = {name.upper(): value for name, value in header.items()}
    keywords.update(EXP_TYPE=exp_type, TSOVISIT=tsovisit, NINTS=nints, VISITYPE=visitype)
    for rule in table("exp_types")["rules"]:
        changed = {**stages, **rule["then"]}
        if changed != stages and _holds(rule, keywords | {stage.upper(): name for stage, name in stages.items()}):
            why.append(f"{rule['why']}: {_named(changed)} instead of {_named(stages)}")
            stages = changed
    return Pipelines(**stages, why=tuple(why), series=series)


def select_for(header, file=None):
    """The pipelines of the exposure with this header.

    Parameters
    ----------
    header : mapping
        Keywords, in upper case; EXP_TYPE and NINTS must be there.
    file : path, optional
        For messages.

    Raises
    ------
    InputError
        EXP_TYPE is unknown or a keyword is missing.
    """
    for keyword in ("EXP_TYPE", "NINTS"):
        if header.get(keyword) in (None, ""):
            raise InputError(f"the keyword {keyword} is missing", file, "Take the file from the archive again, or set it")
    try:
        return _select(tuple([(keyword, header.get(keyword)) for keyword in _asked_for()]))
    except InputError as error:
        error.file = file
        raise


@cache
def _asked_for():
    """The keywords that the selection looks at."""
    asked = {"EXP_TYPE", "TSOVISIT", "NINTS", "VISITYPE"}
    for rule in table("exp_types")["rules"]:
        unless = rule.get("unless", [])
        asked.update(*[rule["when"]], *(unless if isinstance(unless, list) else [unless]))
    return tuple(sorted(asked))


@lru_cache(maxsize=4096)
def _select(keywords):
    """A program has thousands of exposures of a few kinds."""
    special = {"EXP_TYPE": "exp_type", "TSOVISIT": "tsovisit", "NINTS": "nints", "VISITYPE": "visitype"}
    return select(**{special.get(keyword, keyword): value for keyword, value in keywords if value is not None})


def _is_series(exp_type, tsovisit, nints):
    """Whether the exposure is a time series, and the reason in words."""
    true = str(tsovisit).strip().upper() in ("T", "TRUE", "1")
    if nints < 2:
        return False, f"NINTS is {nints}, and one integration is no time series"
    if exp_type in table("exp_types")["always_series"]:
        return True, f"{exp_type} with NINTS {nints} is a time series"
    return true, f"TSOVISIT is {'T' if true else 'F'}, NINTS is {nints}"


def _holds(rule, keywords):
    unless = rule.get("unless", [])
    unless = unless if isinstance(unless, list) else [unless]
    return matches(rule["when"], keywords) and not any(matches(case, keywords) for case in unless)


def _named(stages):
    return ", ".join(name or "none" for name in stages.values())


def pipeline_name(text):
    """The pipeline that a person means: "calwebb_tso1.cfg", "Detector1Pipeline" and "wfs_image2" are understood.

    Raises
    ------
    ConfigError
        There is no such pipeline; the nearest is named.
    """
    name = str(text).strip().rsplit("/", 1)[-1]
    name = re.sub(r"\.(cfg|asdf)$", "", name)
    name = re.sub(r"^(jwst\.)?(pipeline\.)?(calwebb_)?|(pipeline)?$", "", name.lower()).replace("_", "-")
    if name not in PIPELINES:
        raise ConfigError(f"there is no pipeline {text!r}", do=suggestion(name, PIPELINES))
    return name
