"""Which reference files an exposure needs.

`crds` chooses: by the mappings in the cache (CRDS_PATH) where there is no server, from the server's where there is one, which then also
sends files that the cache lacks. How it is asked is in `crds_session`.

A choice depends on a few keywords and on which side of the mappings' USEAFTER dates the exposure lies. It is made once
for each set of these, so that 2,000 exposures of one program cost a dozen questions.
"""

import bisect
import logging
import os
import re
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from ..vocabulary.errors import InputError, ReferenceError
from .session import (
    Rules,
    absent,
    cache_folder,
    came_from,
    contact,
    context_of,
    environment_of,
    import_crds,
    keep,
    memory,
    recall,
    remember,
    sentence,
    serverless,
    session,
)

log = logging.getLogger(__name__)

NOT_APPLICABLE = "N/A"

# What mappings select by -> the exposure's keyword. One that is not here is looked up in the data model's schema.
KEYWORDS = {
    "META.EXPOSURE.NGROUPS": "NGROUPS",
    "META.EXPOSURE.READPATT": "READPATT",
    "META.EXPOSURE.TYPE": "EXP_TYPE",
    "META.INSTRUMENT.BAND": "BAND",
    "META.INSTRUMENT.CHANNEL": "CHANNEL",
    "META.INSTRUMENT.CORONAGRAPH": "CORONMSK",
    "META.INSTRUMENT.DETECTOR": "DETECTOR",
    "META.INSTRUMENT.FILTER": "FILTER",
    "META.INSTRUMENT.GRATING": "GRATING",
    "META.INSTRUMENT.LAMP_MODE": "OPMODE",
    "META.INSTRUMENT.LAMP_STATE": "LAMP",
    "META.INSTRUMENT.MODULE": "MODULE",
    "META.INSTRUMENT.NAME": "INSTRUME",
    "META.INSTRUMENT.PUPIL": "PUPIL",
    "META.OBSERVATION.DATE": "DATE-OBS",
    "META.OBSERVATION.TIME": "TIME-OBS",
    "META.SUBARRAY.NAME": "SUBARRAY",
    "META.SUBARRAY.XSIZE": "SUBSIZE1",
    "META.SUBARRAY.XSTART": "SUBSTRT1",
    "META.SUBARRAY.YSIZE": "SUBSIZE2",
    "META.SUBARRAY.YSTART": "SUBSTRT2",
    "META.VISIT.CROWDED_FIELD": "CROWDFLD",
    "META.VISIT.TSOVISIT": "TSOVISIT",
    "META.VISIT.TYPE": "VISITYPE",
    "META.INSTRUMENT.EXP_TYPE": None,  # slips of some mappings: no exposure has these
    "META.EXPOSUIRE.NOUTPUTS": None,
}
DATE = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")
ISO = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?")


class Resolved(NamedTuple):
    """The references of one exposure."""

    files: dict  # type -> path or "N/A"
    names: dict  # type -> crds://<file>, the file name of an override, or "N/A"
    context: str  # jwst_NNNN.pmap; empty where crds was not needed


def resolve(
    header, types, *, optional=(), context=None, crds_path=None, server_url=None, environment=None, overrides=None, file=None, known=None
):
    """Find the reference files of an exposure.

    Parameters
    ----------
    header : mapping with get()
        The exposure's keywords, primary and SCI.
    types : iterable of str
        Reference types that it can't do without.
    optional : iterable of str
        Further types; "N/A" where the context has none of this type or none that fits,
        or where all others are overridden and no CRDS is set up.
    context : str, optional
        jwst_NNNN.pmap, "latest", or a date that the server translates. Without it CRDS_CONTEXT, else the latest one that
        the server or the cache knows.
    crds_path, server_url : optional
        Cache folder and server; without them CRDS_PATH and CRDS_SERVER_URL, else no server.
    environment : optional
        What `environment_of` made of these two, for whoever resolves thousands of exposures.
    overrides : dict, optional
        type -> path, "N/A", or "crds://<file>" for another file of the cache or the server.
    file : path, optional
        The exposure's file, for messages; without it the keyword FILENAME.
    known : dict, optional
        Answers for the same settings, which is added to: exposures that are alike get one and the same `Resolved`.

    Returns
    -------
    Resolved

    Raises
    ------
    ReferenceError
        There is no reference of a required type, or a chosen one is not in the cache and can't be fetched.
    """
    file, required, optional = file or header.get("FILENAME"), tuple(types), tuple(optional)
    environment = environment or environment_of(crds_path, server_url)
    if known is None:
        return _resolve(header, required, optional, context, environment, overrides, file)
    question = required, optional, tuple((overrides or {}).items()), header.get("INSTRUME")
    rules = known.get(question)
    alike = rules and (question, *_signature(rules, header, environment))
    if alike not in known:
        found = _resolve(header, required, optional, context, environment, overrides, file)
        rules = known[question] = rules or _rules_for(environment, found.context, header, required, optional, overrides, file)
        alike = question, *_signature(rules, header, environment)
        known[alike] = found
    return known[alike]


def _resolve(header, required, optional, context, environment, overrides, file):
    types = list(dict.fromkeys([*required, *optional]))
    given = {k: str(v) for k, v in (overrides or {}).items() if k in types}
    named = {k: v.removeprefix("crds://") for k, v in given.items() if v.startswith("crds://")}
    ask = [k for k in types if k not in given]
    recall(environment)
    known, required = len(memory), set(required)
    if not named and required.isdisjoint(ask) and (not ask or absent(environment)):
        used, names, paths = "", dict.fromkeys(ask, NOT_APPLICABLE), {}
    else:
        used = context_of(environment, context, file)
        best = _best(environment, used, header, ask, file)
        names = {**_applicable(environment, used, header, best, required, file), **named}
        paths = _paths(environment, used, header, {k: v for k, v in names.items() if v != NOT_APPLICABLE}, file)
        if len(memory) > known:
            keep(environment)
    found = Resolved({}, {}, used)
    for kind in types:
        path = paths.get(kind, NOT_APPLICABLE) if kind in names else _override(kind, given[kind])
        found.files[kind] = path
        found.names[kind] = f"crds://{names[kind]}" if kind in paths else path if path == NOT_APPLICABLE else Path(path).name
    return found


def recommend(header, types, *, context=None, crds_path=None, server_url=None, file=None):
    """What `resolve` would choose, without looking for the files.

    Returns
    -------
    names : dict
        type -> file name, "N/A", or None where nothing fits.
    context : str
    """
    file = file or header.get("FILENAME")
    environment = environment_of(crds_path, server_url)
    used = context_of(environment, context, file)
    best = _best(environment, used, header, list(types), file)
    return {kind: None if name.startswith("NOT FOUND") else name for kind, name in best.items()}, used


def default_context(context=None, crds_path=None, server_url=None):
    """The context in use, as jwst_NNNN.pmap; see `resolve`.

    Raises
    ------
    ConfigError
        It is not the name of a context.
    ReferenceError
        There is neither a cache nor a server that knows.
    """
    return context_of(environment_of(crds_path, server_url), context, None)


# --- choice ---


NO_RULES = Rules((), ())


def _best(environment, context, header, types, file):
    """crds' own answers: type -> file name, "N/A", or NOT FOUND and why."""
    if not types:
        return {}
    scope = _scope(environment, context, header, types, file)
    rules = remember((*scope, "rules"), lambda: _ask_rules(*scope, file))
    return remember(
        (*scope, *_signature(rules, header, environment)),
        lambda: _ask_best(environment, context, _values(rules, header), types, file),
    )


def _rules_for(environment, context, header, required, optional, overrides, file):
    """What an answer of `resolve` depends on; nothing where crds was not asked."""
    ask = [kind for kind in dict.fromkeys([*required, *optional]) if kind not in (overrides or {})]
    if not ask or not context:
        return NO_RULES
    return memory[*_scope(environment, context, header, ask, file), "rules"]


def _signature(rules, header, environment):
    """What of an exposure a choice depends on: the time, and the values of some keywords."""
    if rules is NO_RULES:
        return ()
    if not KEYWORDS.keys() >= set(rules.parkeys):
        import_crds(environment)
    return _epoch(rules, header, environment), tuple([repr(_value(header, parkey)) for parkey in rules.parkeys if parkey not in DATE])


def _scope(environment, context, header, types, file):
    instrument = header.get("INSTRUME")
    if not instrument:
        raise InputError("the keyword INSTRUME is missing", file=file, do="Take the file from the archive again, or set it")
    return environment, context, str(instrument).strip().upper(), tuple(types)


def _values(rules, header):
    return {parkey: value for parkey in rules.parkeys if (value := _value(header, parkey)) is not None}


def _ask_best(environment, context, values, types, file):
    with session(environment, file) as crds:
        answers = crds.getrecommendations(values, reftypes=types, context=context, observatory="jwst")
    best = {kind: answers.get(kind, NOT_APPLICABLE) for kind in types}  # crds leaves out what a mapping says to omit
    return {kind: NOT_APPLICABLE if name.upper() == "NOT FOUND N/A" else name for kind, name in best.items()}


def _ask_rules(environment, context, instrument, types, file):
    with session(environment, file) as crds:
        try:
            return _load_rules(crds, environment, context, instrument, types)
        except OSError as error:
            if serverless(dict(environment)["CRDS_SERVER_URL"]):
                raise ReferenceError(
                    f"the context {context} is not complete in the CRDS cache {cache_folder(environment)}: {error.filename} is missing",
                    file=file,
                    do=f"Fetch it with `crds sync --contexts {context}`, or set references: crds_context to one that is there",
                ) from None
            contact(crds, environment, lambda: crds.api.dump_mappings(context))
            return _load_rules(crds, environment, context, instrument, types)


def _load_rules(crds, environment, context, instrument, types):
    parkeys, dates = {"META.INSTRUMENT.NAME"}, set()
    imap = crds.get_symbolic_mapping(context).get_imap(instrument)
    came_from(environment, crds.locate_mapping(context), crds.locate_mapping(imap.basename))
    for kind in types:
        try:
            rmap = imap.get_rmap(kind)
        except (
            crds.exceptions.CrdsUnknownReftypeError,
            crds.exceptions.IrrelevantReferenceTypeError,
            crds.exceptions.OmitReferenceTypeError,
        ):
            continue  # the same answer whatever the keywords
        came_from(environment, crds.locate_mapping(rmap.basename))
        parkeys.update(key for key in rmap.get_required_parkeys() if key.startswith("META."))
        for date in re.findall(r"'(\d{4}-\d\d-\d\d[^']*)'\s*:", str(rmap)):
            dates.update((date, _standard(date) or date))
    return Rules(tuple(sorted(parkeys)), tuple(sorted(dates)))


def _value(header, parkey):
    """The exposure's value as crds takes it: str, bool, int or float; None where there is none."""
    keyword = KEYWORDS[parkey] if parkey in KEYWORDS else _schema_keyword(parkey)
    value = header.get(keyword) if keyword else None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (str, bool, int, float)) else None


@cache
def _schema_keyword(parkey):
    from crds.jwst import schema

    return schema.dm_to_fits(parkey)


def _epoch(rules, header, environment):
    """Between which USEAFTER dates the exposure lies; the words of its header where they are no date."""
    values = [_value(header, key) for key in DATE]
    words = " ".join("UNDEFINED" if value is None else str(value) for value in values)
    if not rules.dates:
        return words
    if ISO.fullmatch(words):  # crds loses up to a microsecond of it; where that makes no difference it need not be asked
        with suppress(ValueError):
            date = datetime.fromisoformat(words)
            late, early = (bisect.bisect_right(rules.dates, d.isoformat(" ")) for d in (date, date - timedelta(microseconds=1)))
            if late == early:
                return late
    import_crds(environment)
    date = _standard(words)
    return words if date is None else bisect.bisect_right(rules.dates, date)


@lru_cache(maxsize=65536)
def _standard(words):
    """A date as crds compares it with USEAFTER, or None."""
    from crds.core.timestamp import reformat_date

    try:
        return reformat_date(words)
    except Exception:  # what crds can't parse has no common base
        return None


def _applicable(environment, context, header, best, required, file):
    """The answers without NOT FOUND: an error for required types, "N/A" for the others."""
    missing = {k: v.removeprefix("NOT FOUND") for k, v in best.items() if v.startswith("NOT FOUND")}
    lacking = [k for k in missing if k in required]
    if lacking:
        values = _values(_ask_rules(*_scope(environment, context, header, lacking, file), file), header)
        keywords = ", ".join(f"{KEYWORDS.get(parkey) or parkey}={value}" for parkey, value in values.items())
        raise ReferenceError(
            f"{context} has no reference of type {'; '.join(f'{kind} ({sentence(missing[kind])})' for kind in lacking)} for {keywords}",
            file=file,
            do=f"Set references: overrides: {{{lacking[0]}: FILE}} (or N/A, which skips the step), or another crds_context",
        )
    if missing and log.isEnabledFor(logging.DEBUG):
        for kind, why in missing.items():
            log.debug("%s: no %s reference in %s (%s)", file, kind, context, sentence(why))
    return {**best, **dict.fromkeys(missing, NOT_APPLICABLE)}


# --- files ---


def _paths(environment, context, header, names, file):
    """type -> path of files that are there; those that the cache lacks are fetched."""
    known = {kind: memory.get((environment, "path", name)) for kind, name in names.items()}
    unknown = {kind: names[kind] for kind, path in known.items() if path is None}
    if unknown:
        parameters = {"META.INSTRUMENT.NAME": str(header.get("INSTRUME")).strip().upper()}
        with session(environment, file) as crds:
            found = {kind: crds.locate_file(name, "jwst", parameters) for kind, name in unknown.items()}
            absent = {kind: unknown[kind] for kind, path in found.items() if not os.path.exists(path)}
            if absent:
                _fetch(crds, environment, context, absent, parameters, file)
        for kind, path in found.items():
            known[kind] = memory[environment, "path", unknown[kind]] = path
    return known


def _fetch(crds, environment, context, names, parameters, file):
    url, why = dict(environment)["CRDS_SERVER_URL"], "no server is configured to fetch it from"
    if not serverless(url):
        try:
            fetched = contact(crds, environment, lambda: crds.api.cache_references(context, dict(names), parameters=parameters))
            why = f"{url} did not send it"
        except crds.CrdsError as error:
            fetched, why = {}, sentence(error)
        names = {kind: name for kind, name in names.items() if not os.path.exists(fetched.get(kind, ""))}
    if names:
        listed = ", ".join(f"{kind} {name}" for kind, name in names.items())
        raise ReferenceError(
            f"not in the CRDS cache {cache_folder(environment)}, though {context} chooses it for this exposure: {listed}; {why}",
            file=file,
            do=f"Fetch it with `crds sync --files {' '.join(names.values())}`, set references: crds_server_url, "
            f"or set references: overrides: {{{next(iter(names))}: FILE}}",
        )


def _override(kind, value):
    if str(value).strip().upper() == NOT_APPLICABLE:
        return NOT_APPLICABLE
    path = os.path.abspath(os.path.expanduser(value))
    if not os.path.isfile(path):
        raise ReferenceError(
            f"the {kind} reference does not exist", file=path, do=f"Correct references: overrides: {kind}, or leave it out"
        )
    return path
