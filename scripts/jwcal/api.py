"""One pipeline by hand, for people and notebooks: the same code that the rules run."""

from pathlib import Path

from . import chains, plan, products, program, run, selector
from . import config as configuration
from .errors import ConfigError
from .exposure import Exposure
from .tables import table


def run_pipeline(pipeline, source, steps=None, overrides=None, *, out=None, every=False, save=(), **references):
    """Run one pipeline on one exposure.

    Parameters
    ----------
    pipeline : str
        "detector1", "image2"...; the old names ("calwebb_detector1", "calwebb_tso1.cfg") are understood.
    source : path or Exposure
        An exposure is the pipeline's to change.
    steps : dict, optional
        step -> {parameter: value}; `skip` is one of the parameters.
    overrides : dict, optional
        Reference type -> path, or "N/A".
    out : path, optional
        Folder to write the products to; without one nothing is written.
    every : bool
        Return all products by suffix.
    save : list of str
        Suffixes of optional products.
    **references
        crds_path, crds_context, crds_server_url: as in the configuration.

    Returns
    -------
    Exposure
        The pipeline's first product (rate, cal...); a dict of all of them if `every`.

    Raises
    ------
    JwcalError

    Examples
    --------
    >>> rate = jwcal.run_pipeline("detector1", "jw..._uncal.fits", steps={"jump": {"rejection_threshold": 5}})  # doctest: +SKIP
    """
    pipeline = selector.pipeline_name(pipeline)
    if not chains.is_built(pipeline):
        raise ConfigError(f"the pipeline {pipeline} is not available in this version", do=f"There are {', '.join(table('pipelines'))}")
    settings = {"steps": steps or {}, "save": list(save), "references": {**references, "overrides": overrides or {}}}
    config = configuration.load(settings)
    given = isinstance(source, Exposure)
    if not given:
        program.check(source)
    header = source.header if given else products.header(source)
    recipe = plan.recipe_for(pipeline, header, config, source.name if given else str(source))
    made = {}

    def write(exposure):
        made.setdefault(exposure.suffix, exposure)
        if out is not None:
            root, _ = products.root_and_suffix(exposure.name)
            products.write(exposure, Path(out, f"{root}_{exposure.suffix}.fits"))

    run.run(recipe, source, write)
    if not made:
        raise ConfigError(f"{pipeline} made no product: the step that makes it was skipped", str(source))
    return made if every else next(iter(made.values()))
