"""Which members of an association a pipeline reads, and where they are."""

from functools import lru_cache
from pathlib import Path

from ..program.index import parse_name
from ..settings import chains
from ..vocabulary.errors import InputError
from ..vocabulary.phrases import some
from . import places
from .model import MADE

NAMED = {"msametadata": "MSAMETFL"}  # members that no association has: a keyword of the exposure names the file

CATALOGUE = "tweakreg_catalog"  # type of the files with the stars of a member

WORDS = {  # of members that a pipeline can't do without: what is missing, and what to do
    "sourcecat": (
        "catalogue of the sources whose spectra these are: no direct image of the field is among the data",
        "Add the images, or name their observation in `links` (is: direct_image), or give an association with a catalogue (sourcecat)",
    )
}


def unread(association, chain):
    """A message about backgrounds that the user gives to a pipeline that subtracts none."""
    if association is None or not association.given or not association.of_type("background"):
        return []
    if any("background" in chains.member_types(step.name) for step in chain.steps):
        return []
    return [f"{association.given}: {association.product}: {chain.pipeline} subtracts no background"]


def check(chain, association, source):
    """Raise InputError where a pipeline can't do without a member that the exposure's association, or None, does not have."""
    there = {member.exptype for member in association.members} if association else ()
    for exptype in chain.needs:
        if exptype not in there:
            raise InputError(f"there is no {WORDS[exptype][0]}", source, WORDS[exptype][1])


def add(recipe, association, files=None):
    """Add to a recipe the members of an association that its steps read, and its name.

    Parameters
    ----------
    recipe : Recipe
    association : associations.Association
    files : dict, optional
        Root -> {suffix: path} of files that are there or will be; others are looked for where the association's own file says. An
        exposure without any is one that can't be used.

    Raises
    ------
    InputError
        A member is not there, and nothing makes it. A nod, which is a background for the others of its observation, may be lost: the
        recipe says that it is done without.
    """
    steps = [step for step, parameters in recipe.parameters.items() if not parameters["skip"]]
    wanted = {exptype for step in steps for exptype in chains.member_types(step)}
    recipe.association = {"table": association.table, "pool": association.pool}
    recipe.members, lost = [], []
    if recipe.takes == "members":
        wanted.add("science")
        recipe.association["asn_id"] = association.asn_id
        recipe.product = association.product
    for member in association.members:
        if member.exptype in wanted and not (member.exptype == "science" and (recipe.takes != "members" or member is association.science)):
            root, suffix = chains.root_and_suffix(member.expname)
            known = (files or {}).get(root)
            path = (known or {}).get(suffix) or (None if known == {} else places.of(association, member))
            if path:
                recipe.members.append({"path": str(path), "exptype": member.exptype})
            elif recipe.takes != "members" and _is_nod(member, association.science):
                lost.append(root)
            else:
                do = "Let the run go to stage 3, or add it to the data" if member.exptype in MADE and not association.given else ""
                raise InputError(
                    f"there is no {member.expname}, the {member.exptype.replace('_', ' ')} of {association.product}, and nothing makes it",
                    association.given or association.table,
                    do or "Add it to the data, or take it out of the association",
                )
    if lost:
        others = "" if any(member["exptype"] == "background" for member in recipe.members) else ": no background is left"
        recipe.association["lacks"] = lack(lost, "in the association and neither among the data nor made") + others
    if recipe.takes == "members":
        groups = {chains.root_and_suffix(member.expname)[0]: member.group for member in association.of_type("science") if member.group}
        recipe.association |= {"groups": groups} if groups else {}
        _add_catalogues(recipe, association)


def _is_nod(member, science):
    """Whether a background is a nod: of the science's own observation, as their names tell it."""
    here, there = (parse_name(chains.root_and_suffix(one.expname)[0]) for one in (science, member))
    return member.exptype == "background" and None not in (here, there) and here[:2] == there[:2]


def lack(names, why):
    """What a product is made without, in words: exposures, and where one would have looked for them."""
    return f"without {some(names)}, which {'is' if len(names) == 1 else 'are'} {why}"


def _add_catalogues(recipe, association):
    """Add the catalogues of stars that a person's association names, if tweakreg is to take them."""
    asked = recipe.parameters.get("tweakreg", {"skip": True})
    if asked["skip"] or not asked["use_custom_catalogs"] or asked["catfile"].strip():
        return
    for member in association.of_type("science"):
        if not member.catalogue:
            continue
        path = Path(association.given.parent, member.catalogue)
        if not path.is_file():
            what = f"there is no {member.catalogue}, the catalogue of {member.expname}"
            raise InputError(what, association.given, "Give its place as seen from the association, or take tweakreg_catalog out")
        recipe.members.append({"path": str(path), "exptype": CATALOGUE, "of": chains.root_and_suffix(member.expname)[0]})


def add_named(recipe, header, source, files=None):
    """Add to a recipe the files that keywords of the exposure name, where its steps read them. What is not found the steps tell.

    Parameters
    ----------
    recipe : Recipe
    header : mapping
    source : path
        The exposure's file in the data: files beside it are found too.
    files : dict, optional
        As for `add`.
    """
    wanted = {exptype for step, parameters in recipe.parameters.items() if not parameters["skip"] for exptype in chains.member_types(step)}
    for exptype in NAMED:
        path = _named(exptype, header, source, files) if exptype in wanted else None
        if path:
            recipe.members.append({"path": str(path), "exptype": exptype})


def _named(exptype, header, source, files=None):
    """Where the file is that a keyword of an exposure names; None where it is not found."""
    name = str(header.get(NAMED[exptype]) or "").strip()
    if not name:
        return None
    root, suffix = chains.root_and_suffix(name)
    beside = Path(source).parent / Path(name).name
    return beside if beside.is_file() else (files or {}).get(root, {}).get(suffix)


def may_have_slits(exposures, files=None):
    """Whether exposures through shutters may have fixed slits too: only then the references of these are asked for.

    They have none if the metadata of the shutters tell it of each. Of a file that can't be read the step tells.

    Parameters
    ----------
    exposures : iterable of (mapping, path)
        Header and file of each.
    files : dict, optional
        As for `add`.
    """
    for header, source in exposures:
        path = _named("msametadata", header, source, files)
        try:
            among = _with_slits(str(path), Path(path).stat().st_mtime_ns) if path else None
            if among is None or (int(header["MSAMETID"]), int(header["PATT_NUM"])) in among:
                return True
        except (InputError, OSError, KeyError, TypeError, ValueError):
            return True
    return False


@lru_cache(maxsize=256)
def _with_slits(path, _):
    """(configuration, dither) of metadata of shutters that have a source in a fixed slit; all exposures of a program share few files."""
    from ..model import named_files  # astropy, which planning does without where no exposure has shutters

    rows = named_files.fits_table(path, "SHUTTER_INFO", "the MSA metadata file", "")
    if "fixed_slit" not in rows.dtype.names:
        return set()
    named = [str(slit.decode() if isinstance(slit, bytes) else slit).strip().startswith("S") for slit in rows["fixed_slit"]]
    return set(zip(rows["msa_metadata_id"][named].tolist(), rows["dither_point_index"][named].tolist(), strict=True))


def idle(recipe):
    """Steps that have nothing to do because the association has no member that they read, and the user gives none (user_background)."""
    there = {member["exptype"] for member in recipe.members}
    wanted = {step: set(chains.member_types(step)) - set(NAMED) for step in recipe.parameters}
    given = {step: {kind for kind in exptypes if recipe.parameters[step].get(f"user_{kind}")} for step, exptypes in wanted.items()}
    return [step for step, exptypes in wanted.items() if exptypes and not exptypes & (there | given[step])]
