"""Association files, as the archive has them: written all or none, and read with care."""

import json
import re
from contextlib import ExitStack
from pathlib import Path

from ..files.storage import replaced
from ..version import VERSION
from ..vocabulary.errors import InputError
from ..vocabulary.nearest import nearest, suggestion
from . import places
from .model import Association, Member
from .names import root
from .rules import rules

EXPTYPES = (  # what members are of the archive's associations, and of people's
    *("science", "background", "imprint", "selfcal", "psf", "target_acquisition", "direct_image", "sourcecat", "segmap"),
    *("calibration", "lamp", "dark", "flat", "engineering", "autowave", "autoflat", "pool"),
)
SAFE_PRODUCT = re.compile(r"\w[\w.+{}-]*")
FAULTLESS, FAULTY = "No exposure of this association has an error.", "Some exposures have an error: see exposerr of the members."


def content(association):
    """What the file of an association holds, for `json.dump`."""
    members = [_member(member, association.stage) for member in association.members]
    return {
        "asn_type": association.asn_type,
        "asn_rule": association.ruleset,
        "version_id": None,
        "code_version": VERSION,
        "degraded_status": FAULTY if any(member.exposerr for member in association.members) else FAULTLESS,
        "program": association.program,
        "constraints": ", ".join(f"{column}: {value}" for column, value in association.shared.items()),
        "asn_id": association.asn_id,
        "target": association.target,
        "asn_pool": association.pool,
        "products": [{"name": association.product, "members": members}],
    }


def _member(member, stage):
    entry = {"expname": member.expname, "exptype": member.exptype}
    if member.item is not None:
        entry["exposerr"] = member.exposerr
        if stage == 3:
            entry["asn_candidate"] = str(list(member.item.candidates))
    return entry


def write(associations, folder):
    """Write each association to a file of its own.

    Nothing is written where a name is not safe, and no file is there that is not whole.

    Parameters
    ----------
    associations : list of Association
    folder : path

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        A name that leads out of the folder.
    ProductError
        The folder can't be written to.
    """
    texts = {}
    for association in associations:
        check_names(association)
        texts[Path(folder, association.file_name)] = json.dumps(content(association), indent=4)
    with ExitStack() as files:
        for path, text in texts.items():
            files.enter_context(replaced(path)).write_text(text + "\n")
    return list(texts)


def check_names(association):
    """Raise InputError where a name that the rules made is none of a file in a folder."""
    for name in (association.product, association.file_name, *(member.expname for member in association.members)):
        if not SAFE_PRODUCT.fullmatch(name):
            raise InputError(f"{name!r} can't be the name of a file", association.pool, "Correct the row of the pool that it comes from")


def load(path, exists=None):
    """Read an association file of the archive, or a person's.

    Parameters
    ----------
    path : path
    exists : callable, optional
        Whether a member is there, or will be, by its name.

    Returns
    -------
    list of Association
        One for each product.

    Raises
    ------
    InputError
        The file is none, a product has no science member or no usable name, a member's name is absolute, a member does not exist.
    """
    document = _document(path)
    asn_type = _asn_type(document, path)
    products = document.get("products")
    if not isinstance(products, list) or not products:
        raise InputError("it has no products", path, "An association has a list `products`, each with `name` and `members`")
    shared = {
        "rule": str(document.get("asn_rule", "none")).removeprefix("candidate_").removeprefix("discover_"),
        "asn_type": asn_type,
        "pipeline": pipelines()[asn_type],
        "asn_id": str(document.get("asn_id", "a3001")),
        "candidate_type": "given",
        "program": str(document.get("program", "")),
        "target": str(document.get("target", "none")),
        "pool": str(document.get("asn_pool", "none")),
    }
    return [_product(product, shared, path, exists) for product in products]


def pipelines():
    """Association type -> pipeline. The pairs of wavefront sensing aside, they have one name."""
    return {rule.asn_type: rule.asn_type for rule in rules()}


def pipelines_of(asn_type):
    """The pipelines that take associations of a type, the usual one first."""
    return list(dict.fromkeys([pipelines()[asn_type], *(rule.pipeline for rule in rules() if rule.asn_type == asn_type)]))


def _document(path):
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"not a readable association ({error})", path, "Give a JSON file of the archive's form") from None
    if not isinstance(document, dict):
        raise InputError("not an association: the file is no JSON object", path, "Give a JSON file of the archive's form")
    return document


def _asn_type(document, path):
    asn_type = document.get("asn_type")
    if asn_type not in pipelines():
        raise InputError(f"asn_type is {asn_type!r}", path, suggestion(asn_type, pipelines()))
    return asn_type


def _product(product, shared, path, exists):
    if not isinstance(product, dict) or not isinstance(product.get("members"), list):
        raise InputError("a product has no list of members", path, "A product has `name` and `members`")
    members = [_read_member(entry, path, exists) for entry in product["members"]]
    science = [member for member in members if member.exptype == "science"]
    name = product.get("name") or (root(science[0].expname) if science else "")
    if not isinstance(name, str) or not SAFE_PRODUCT.fullmatch(name):
        raise InputError(f"{name!r} can't be the name of a product", path, "It is a name without folders and suffix")
    if not science:
        raise InputError(f"the product {name} has no science member", path, "Set the exptype of at least one member to science")
    return Association(**shared, product=name, members=members)


def _read_member(entry, path, exists):
    expname, exptype = (entry.get("expname"), entry.get("exptype")) if isinstance(entry, dict) else (None, None)
    if not isinstance(expname, str) or not expname.strip() or not isinstance(exptype, str):
        raise InputError(f"{entry!r} is no member", path, "A member has `expname` and `exptype`")
    near = nearest(exptype.lower(), EXPTYPES)
    if near and near != exptype.lower():  # a word that nobody reads would leave the member out in silence
        raise InputError(f"the exptype of {expname} is {exptype!r}", path, f"The nearest that is known is {near}")
    name, place = places.parted(expname, path)
    if exists is not None and not exists(expname) and not exists(name):
        raise InputError(f"there is no {expname}, and nothing makes it", path, "Add it to the exposures, or take it out of the members")
    exposerr = entry.get("exposerr")
    own = {"catalogue": str(entry.get("tweakreg_catalog") or "").strip(), "group": str(entry.get("group_id") or "").strip()}
    return Member(name, exptype.lower(), None if exposerr in (None, "null") else str(exposerr), place=place, **own)


def normalised(associations, pool, orphaned):
    """All associations in one list whose order does not depend on that of the pool: for comparisons.

    Returns
    -------
    str
        JSON.
    """
    entries = sorted((_entry(association) for association in associations), key=_order)
    by_rule = {}
    for entry in entries:
        by_rule[entry["asn_rule"]] = by_rule.get(entry["asn_rule"], 0) + 1
    head = {
        "pool": pool.name,
        "generator": f"jwcal {VERSION}",
        "n_rows": len(pool.items),
        "n_associations": len(entries),
        "n_not_serialized": 0,
        "by_rule": dict(sorted(by_rule.items())),
        "orphaned": sorted(orphaned),
    }
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    return f'{json.dumps(head, indent=1)[:-2]},\n "associations": [\n{lines}\n ]\n}}\n'


KINDS = {"o": "observation", "c": "candidate", "a": "discovered"}


def _entry(association):
    members = sorted([member.expname, member.exptype] for member in association.members)
    return {
        "asn_rule": association.ruleset,
        "asn_type": association.asn_type,
        "asn_id": association.asn_id,
        "asn_id_kind": KINDS.get(association.asn_id[:1], "other"),
        "program": association.program,
        "products": [{"name": association.product, "members": members}],
    }


def _order(entry):
    products = entry["products"]
    return (
        entry["asn_id_kind"],
        entry["asn_id"],
        entry["asn_type"],
        entry["asn_rule"],
        [p["name"] for p in products],
        json.dumps(products),
    )
