"""The associations of a run: those of the rules, in whose place come those that the user gives; and the files that say which were used."""

import json
import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..files.storage import noted, replaced
from ..settings.chains import plain
from ..settings.tables import table
from ..vocabulary.errors import ConfigError, InputError
from . import archive, linked, places
from .candidates import generate
from .headers import from_exposures
from .names import root

STAGES = {"stage1": 1, "stage2": 2, "stage3": 3}


@dataclass
class Chosen:
    """What a run combines."""

    associations: list = field(default_factory=list)
    notes: list = field(default_factory=list)  # what was inferred, and what was decided between two
    remarks: list = field(default_factory=list)  # what comes of links that is less than they say, or not what the archive does
    problems: list = field(default_factory=list)  # messages about files that can't be used
    left_out: list = field(default_factory=list)  # messages about files that are not needed
    lacking: list = field(default_factory=list)  # associations of stage 3 that are not used because some of their members are not there

    def __post_init__(self):
        self._of_exposure = defaultdict(list)
        for association in self.associations:
            if association.stage == 2:
                self._of_exposure[root(association.science.expname)].append(association)

    def of_exposure(self, name):
        """The associations of stage 2 whose science is an exposure, by the root of its name."""
        return self._of_exposure.get(name, [])

    def of_stage(self, stage):
        return [association for association in self.associations if association.stage == stage]


def choose(exposures, config, found=()):
    """The associations of a run.

    Parameters
    ----------
    exposures : list of program.Exposure
    config : config.Config
    found : list of paths
        Association files among the data.

    Returns
    -------
    Chosen

    Raises
    ------
    ConfigError
        A link of the configuration means nothing here, or a file or folder that it names does not exist.
    """
    last = STAGES[config.until]
    if last < 2:
        return Chosen()
    pool = from_exposures(exposures, config.links)
    by_root = {exposure.root: exposure for exposure in exposures}
    made = [association for association in generate(pool) if _is_made(association, by_root)]
    chosen = Chosen(notes=list(pool.notes), remarks=list(pool.remarks))
    loaded = _loaded(config, found, chosen)
    users = {association.product: association for association, _ in loaded}
    needed = _needed([*users.values(), *(association for association in made if association.product not in users)])
    made = [association for association in made if association.stage <= last or association.product in needed]
    loaded = [(one, asked) for one, asked in loaded if one.stage <= last or one.product in needed]
    given = _given(exposures, loaded, chosen)
    products = {association.product for association in given}
    made = _one_each_science([association for association in made if association.product not in products], chosen)
    chosen.remarks += linked.widen(pool, made, by_root)
    chosen.remarks += linked.idle(pool, [*given, *made], by_root, last)
    _name([*given, *made])
    return replace(chosen, associations=[*given, *made])


def _needed(associations):
    """Products of stage 3 that exposures of stage 2 take: a field's spectra the catalogue of its direct images."""
    members = [member for association in associations if association.stage == 2 for member in association.members]
    return {member.expname.rpartition("_")[0] for member in members if member.exptype != "science"}


def _is_made(association, exposures):
    """Whether a run makes a product that the rules have: the mission's table (config/exp_types.yaml) wins over them.

    It does not go on to stage 3 with some types of exposures, and a single integration is no time series. An exposure that is there
    only calibrated is not calibrated again.
    """
    exposure = exposures[root(association.science.expname)]
    is_series, series = "tso" in association.asn_type, exposure.chain.stage1 == "tso1"
    if association.stage == 2:
        return exposure.level != "cal" and exposure.chain.stage2 is not None and is_series == series
    row = table("exp_types")["exp_types"][exposure.header["EXP_TYPE"].strip().upper()]
    return (series or not is_series) and any(len(r) > 2 for r in (row.values() if isinstance(row, dict) else [row]))


def _one_each_science(made, chosen):
    """Of several associations that calibrate an exposure in the same way, that of the last candidate.

    Those with names that no file can have are left out.
    """
    last = {_key(association): association for association in sorted(made, key=lambda association: association.asn_id)}
    kept = []
    for association in made:
        best = last[_key(association)]
        if association.stage == 2 and best is not association:
            chosen.notes.append(
                f"{association.product}: it is in the candidates {association.asn_id} and {best.asn_id}: {best.asn_id} is taken"
            )
            continue
        try:
            archive.check_names(association)
        except InputError as error:
            chosen.problems.append(str(error))
        else:
            kept.append(association)
    return kept


def _key(association):
    """What two associations for one product have in common: an exposure that is averaged and one with its integrations are two."""
    several = association.stage == 2 or "{suffix}" in association.product
    return association.product, association.science.expname if several else ""


# --- files that the user gives


def _loaded(config, found, chosen):
    """The associations that the user gives, and whether the configuration names their file; what can't be read is noted."""
    loaded = []
    for path, asked in _files(() if config.associations == "generate" else config.associations, found):
        try:
            loaded += [(association, asked) for association in _load(path)]
        except InputError as error:
            chosen.problems.append(str(error))
    return loaded


def _given(exposures, loaded, chosen):
    """Of the associations that the user gives one for each product; what can't be used is noted."""
    known = {exposure.root for exposure in exposures}
    known |= {association.product for association, _ in loaded if association.stage == 2 and not _absent(association, known)}
    by_product = defaultdict(list)
    for association, asked in loaded:
        fault = _fault(association, known)
        if fault:
            chosen.lacking += [association] * (association.stage == 3 and bool(_absent(association, known)))
            (chosen.problems if asked else chosen.left_out).append(f"{association.given}: {association.product}: {fault}")
        else:
            order = asked, len(association.members), str(association.given)
            by_product[_key(association)].append((order, association))
    return [_best(same, chosen) for same in by_product.values()]


def _best(same, chosen):
    """Of several files for one product the configuration's before the data's, the one with more members, the last in the alphabet."""
    *others, (_, best) = sorted(same, key=lambda entry: entry[0])
    chosen.left_out += [f"{other.given}: {other.product}: {best.given} is taken for this product" for _, other in others]
    return best


def _files(asked, found):
    """(path, whether the configuration names it) of the association files, each once."""
    files = {}
    for path in asked:
        if path.is_dir():
            inside = sorted(path.rglob("*_asn.json"))
            if not inside:
                raise ConfigError("associations: there is no *_asn.json in this folder", path, "Correct the path, or write generate")
        elif path.is_file():
            inside = [path]
        else:
            raise ConfigError("associations: there is no such file or folder", path, "Correct the path, or write generate")
        files.update({file.resolve(): (file, True) for file in inside})
    for path in map(Path, found):
        files.setdefault(path.resolve(), (path, False))
    return list(files.values())


def _load(path):
    associations = archive.load(path)
    for association in associations:
        association.given = path
    return associations


def _fault(association, known):
    """Why a given association can't be used, or None. That members exist is seen where they are read."""
    science = association.of_type("science")
    if association.stage == 2:
        if len(science) > 1:
            return f"a product of stage 2 has one science member, this one has {len(science)}. Give each a product of its own."
        if set("{}") & set(association.product):
            return "a product of stage 2 has no placeholders in its name. Write the name itself."
    missing = _absent(association, known)
    if missing:
        return f"there is no exposure {', '.join(missing)} among the data. Add it, or leave the association out."
    return None


def _absent(association, known):
    """The science members that neither the data have nor a run makes."""
    return [member.expname for member in association.of_type("science") if root(member.expname) not in known]


# --- files that say which were used


def _name(associations):
    """Name the files: after the products, so that a new exposure does not change the name of another one's association."""
    taken = {}
    for association in associations:
        if association.given:
            stem, number = association.given.name.removesuffix("_asn.json"), 1
        else:
            stem, number = plain(f"{association.product}_{association.asn_type}"), 1
        owner = association.given or association
        while taken.setdefault(_table(stem, number), owner) is not owner:
            number += 1
        association.table = _table(stem, number)


def _table(stem, number):
    return f"{stem}_asn.json" if number == 1 else f"{stem}-{number}_asn.json"


def save(associations, folder, files):
    """Write the associations of a run to its results; a file that is not of this run any more is removed, an unchanged one left alone.

    Parameters
    ----------
    associations : list of Association
    folder : path
    files : dict
        Root -> {suffix: path} of files that are there or will be made: members are named by their paths from the folder.

    Raises
    ------
    ProductError
        The folder can't be written to.
    """
    folder = Path(folder)
    there = {path.name: path for path in folder.glob("*_asn.json")}
    for name, association in {association.table: association for association in associations}.items():
        path = there.pop(name, None)
        content = _placed(association, folder, files)
        if path is None or noted(path) != content:
            with replaced(folder / name) as temporary:
                temporary.write_text(json.dumps(content, indent=4) + "\n")
    for path in there.values():
        path.unlink()


def _placed(association, folder, files):
    """What its file holds, with members that are named by where they are."""
    content = noted(association.given) if association.given else archive.content(association)
    there = {member.expname: places.of(association, member) for member in association.members}

    def placed(entry):
        name, _ = places.parted(entry["expname"], association.given)
        stars = str(entry.get("tweakreg_catalog") or "").strip()
        stars = {"tweakreg_catalog": os.path.relpath(Path(association.given).parent / stars, folder)} if stars else {}
        return entry | {"expname": places.seen_from(folder, name, files, there.get(name))} | stars

    products = [product | {"members": [placed(entry) for entry in product["members"]]} for product in content["products"]]
    return content | {"products": products}
