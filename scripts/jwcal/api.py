"""One pipeline by hand, for people and notebooks: the same code that the rules run."""

import logging
from pathlib import Path

from astropy.io import fits

from . import associations, notebook
from .associations import archive, members, places
from .files import fingerprint
from .model.exposure import Exposure, Header
from .products import stored
from .program import index
from .provenance import codebase, records
from .run import loop
from .settings import chains, selector
from .settings import config as configuration
from .settings.tables import table
from .vocabulary.errors import ConfigError, InputError
from .workflow import plan, requests, work

log = logging.getLogger(__name__)
TEXT = ".ecsv"


def run_pipeline(pipeline, source, steps=None, overrides=None, *, out=None, every=False, save=(), insert=None, **references):
    """Run one pipeline on one exposure.

    Parameters
    ----------
    pipeline : str
        "detector1", "image2"...; the old names ("calwebb_detector1", "calwebb_tso1.cfg") are understood.
    source : path or Exposure
        An exposure is the pipeline's to change. The path may be that of an association (*_asn.json) of one product, with its
        members where it says, or beside it.
    steps : dict, optional
        step -> {parameter: value}; `skip` is one of the parameters.
    overrides : dict or list, optional
        Reference type -> path, or "N/A"; or a list of them with what exposures they are for, as in the configuration.
    out : path, optional
        Folder to write the products to; without one nothing is written.
    every : bool
        Return all products by suffix.
    save : list of str
        Suffixes of optional products.
    insert : dict, optional
        Steps of your own, as in the configuration: {"image2": [{"after": "flat_field", "step": "my_steps/wisps.py"}]}.
    **references
        crds_path, crds_context, crds_server_url: as in the configuration.

    Returns
    -------
    notebook.Product
        The first product (rate, cal...); a dict of all of them if `every`. It is an exposure that says what it is, and has `write`,
        `to_hdulist`, `to_spectra` and `to_tables`.

    Raises
    ------
    JwcalError

    What is asked for and does nothing (parameters of a step that the pipeline has not, a reference that it does not take...) is logged
    as a warning.

    Examples
    --------
    >>> rate = jwcal.run_pipeline("detector1", "jw..._uncal.fits", steps={"jump": {"rejection_threshold": 5}})  # doctest: +SKIP
    """
    pipeline = selector.pipeline_name(pipeline)
    if not chains.is_built(pipeline):
        raise ConfigError(f"the pipeline {pipeline} is not available in this version", do=f"There are {', '.join(table('pipelines'))}")
    settings = {"steps": steps or {}, "save": list(save), "references": {**references, "overrides": overrides or {}}}
    settings["insert"] = insert or {}
    config = configuration.load(settings)
    given = isinstance(source, Exposure)
    association = None if given or Path(source).suffix != ".json" else _association(source, pipeline)
    if association:
        source = places.of(association, association.science)
    header = source.header if given else index.check(source) or stored.header(source)
    place = source.name if given else str(source)
    _check_choice(pipeline, header, place)
    recipe = plan.recipe_for(pipeline, header, config, place, slits=lambda: members.may_have_slits(_looked_at(header, place, association)))
    if recipe.takes == "members" and not association:
        raise ConfigError(f"{pipeline} combines the members of an association", str(source), "Give it a *_asn.json file")
    if association:
        members.add(recipe, association)
    members.add_named(recipe, header, place)
    for request in requests.unused(recipe, steps or {}, _plain(overrides)):
        log.warning("%s", request)
    made, of_members = {}, {}

    def keep(exposures):
        """The pipeline's own products; those of its members are in the files."""
        for exposure in exposures:
            (of_members if exposure.product else made).setdefault(exposure.suffix, exposure)

    def write(exposures):
        keep(exposures)
        shelf.write(exposures)

    if out is None:
        loop.run(recipe, source, keep)
    else:
        root, start = chains.root_and_suffix(source.name if given else str(source))
        start = source.suffix if given else start
        paths = plan.products_of(config.chain(pipeline, header), start, recipe)
        name = association.product if association else root
        shelf = work.Shelf({suffix: Path(out, chains.placed(name, end)) for suffix, end in paths.items()}, by_hand=True)
        inputs = [] if given else [(source, "science"), *((member["path"], member["exptype"]) for member in recipe.members)]
        code = codebase.Code()
        made_from = records.ingredients(recipe, code, fingerprint.Digests())
        code.remember()
        work.make(recipe, made_from, source, inputs, shelf, write=write)
    made = made or of_members
    if not made:
        raise ConfigError(f"{pipeline} made no product: the step that makes it was skipped", str(source))
    for suffix in save:
        if suffix not in made:
            log.warning("%s made no %s: no step of it does, or it was skipped", pipeline, suffix)
    made = {suffix: notebook.product(exposure) for suffix, exposure in made.items()}
    return made if every else next(iter(made.values()))


def _check_choice(pipeline, header, file):
    """Warn of a pipeline that is none of the exposure's; raise ConfigError where it has no steps for such exposures."""
    try:
        own = [name for name in selector.select_for(header) if name]
    except InputError:  # what it lacks is said where it is needed
        own = [pipeline]
    what, do = f"{pipeline} is no pipeline of {header.get('EXP_TYPE')}, which goes through {' -> '.join(own)}", "Choose one of its own"
    if pipeline in own:
        what, do = f"{chains.absence(pipeline, header)} in this version", "Leave it out"
    if not chains.is_built(pipeline, header):
        raise ConfigError(what, file, do)
    if pipeline not in own:
        log.warning("%s: %s", file, what)


def open(path):  # noqa: A001 - what it is called outside: jwcal.open
    """Open a product: see `jwcal.open`."""
    if str(path).endswith(TEXT):
        from astropy.table import Table

        made = Exposure(Header(fits.Header(), fits.Header(), str(path)), suffix=chains.root_and_suffix(path)[1])
        try:
            made.catalogue = Table.read(path)
        except OSError as error:
            raise InputError(f"it can't be read ({error.strerror or error})", path) from None
        return notebook.product(made)
    return notebook.product(stored.read(path))


def _looked_at(header, place, association):
    """Header and file of an exposure, or of all that an association combines."""
    if not association:
        return [(header, place)]
    paths = filter(None, (places.of(association, member) for member in association.of_type("science")))
    return [(stored.header(path), path) for path in paths]


def _plain(overrides):
    """Reference type -> path, of all exposures."""
    if isinstance(overrides, list):
        return {kind: file for entry in overrides for kind, file in entry["files"].items()}
    return overrides or {}


def _association(path, pipeline):
    """The association in a file of one product, which is for this pipeline."""
    found = associations.load(path, exists=lambda name: Path(path).parent.joinpath(name).exists())
    if len(found) > 1:
        do = "Give it to the workflow: `associations` in the configuration"
        raise ConfigError("one pipeline by hand takes an association of one product", path, do)
    wanted = archive.pipelines_of(found[0].asn_type)
    if pipeline not in wanted:
        what = f"it is an association of type {found[0].asn_type}, which {pipeline} does not take"
        raise ConfigError(what, path, f"Give it to {' or '.join(wanted)}, or correct its asn_type")
    found[0].given, found[0].table = Path(path), Path(path).name
    return found[0]
