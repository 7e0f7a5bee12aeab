"""Parameters written to a file: YAML, or the ASDF form of the archive's pars- references, which the peer reads too."""

import os
import time
from pathlib import Path

import yaml

from ..files import fitsio, storage
from ..vocabulary.errors import ConfigError
from . import pars
from .tables import table

# The peer's classes of steps and pipelines; a pars- reference says which it is for.
STEPS = """
AdaptiveTraceModel AlignRefs AmiAnalyze AmiNormalize AssignMTWcs AssignWcs Background BadpixSelfcal BarShadow
ChargeMigration CleanFlickerNoise Combine1d CubeBuild DQInit DarkCurrent EmiCorr Extract1d Extract2d FirstFrame
FlatField Fringe GainScale GroupScale GuiderCds IPC Imprint Jump Klip LastFrame Linearity MSAFlagOpen MasterBackground
MasterBackgroundMos OutlierDetection PathLoss Persistence Photom PictureFrame PixelReplace RampFit RefPix Resample
ResampleSpec Reset ResidualFringe Rscd Saturation SkyMatch SourceCatalog SourceType SpectralLeak StackRefs Straylight
SuperBias TSOPhotometry TargCentroid TweakReg Wavecorr WfsCombine WfssContam WhiteLight
""".split()
PIPELINES = "Ami3 Coron3 Dark Detector1 Guider Image2 Image3 Spec2 Spec3 Tso3".split()
# Parameters that only our steps have: the peer would refuse them among its own. They stand apart, under `jwcal`.
OWN = {
    "align_refs": ["align_rolls"],
    "ami_analyze": ["whole_pixels"],
    "assign_wcs": ["grism_source"],
    "barshadow": ["least_light"],
    "cube_build": ["slicer_corners"],
    "extract_1d": ["psf_total", "bad_pixels", "move_background", "ifu_centre", "ifu_bkg_area"],
    "jump": ["obey_max_shower_amplitude", "detection", "likelihood_threshold"],
    "klip": ["fit_inner", "fit_outer", "annulus_width", "annulus_modes", "contrast", "fwhm", "star_flux"],
    "outlier_detection": ["peak", "jitter", "by_wavelength", "ifu_method"],
    "resample": ["weight_box", "error_of"],
    "resample_spec": ["error_of"],
    "skymatch": ["grouped"],
    "source_catalog": ["total_correction"],
    "straylight": ["bad_gap_pixels"],
    "tso_photometry": ["bad_pixels"],
    "tweakreg": "centroids grouped rematch check_fits abs_average abs_proper_motions abs_without_motion save_report".split(),
    "wfs_combine": ["error", "outside"],
    "wfss_contam": ["own_light"],
    "white_light": ["bad_fluxes"],
}


def write(path, steps, pipeline=""):
    """Write parameters to a file whose ending says how: *.yaml, or *.asdf.

    Parameters
    ----------
    path : path
    steps : dict
        step -> {parameter: value}; of one step where there is no pipeline.
    pipeline : str, optional

    Raises
    ------
    ConfigError
        The ending is neither.
    """
    ending = Path(path).suffix.lower()
    if ending in (".yaml", ".yml"):
        content = yaml.safe_dump(steps, sort_keys=False, allow_unicode=True).encode()
    elif ending == ".asdf":
        content = fitsio.asdf_block(tree(steps, pipeline), plain=True)
    else:
        raise ConfigError("parameters are written as *.yaml or *.asdf", path, "Choose such a name")
    with storage.replaced(path) as temporary:
        temporary.write_bytes(content)


def tree(steps, pipeline=""):
    """The same as the tree of a pars- reference."""
    parts = [_part(step, values) for step, values in steps.items() if _class_of(step)]
    if pipeline:
        crds = table("pipelines")[pipeline]["crds"]
        name = next((name for name in PIPELINES if f"{name.lower()}pipeline" == crds), pipeline)
        whole = {"class": f"jwst.pipeline.{name}Pipeline", "name": f"{name}Pipeline", "parameters": {}, "steps": parts}
    else:
        whole = parts[0]
    own = {step: {name: values[name] for name in OWN.get(step, ()) if name in values} for step, values in steps.items()}
    own |= {step: values for step, values in steps.items() if not _class_of(step)}
    about = {"author": os.environ.get("USER") or "jwcal", "description": "Parameters saved by jwcal", "telescope": "JWST"}
    about |= {"date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "reftype": _reftype(whole["class"]), "pedigree": "GROUND"}
    about |= {"useafter": "2022-01-01T00:00:00", "instrument": {"name": "<NAME>"}, "origin": "<ORIGIN>"}
    return {**whole, "meta": about, "jwcal": {step: values for step, values in own.items() if values}}


def _part(step, values):
    name = _class_of(step)
    known = {key: value for key, value in values.items() if key not in OWN.get(step, ())}
    return {"class": f"jwst.step.{name}Step", "name": step, "parameters": known}


def _class_of(step):
    kind = pars.pars_type(step)
    return next((name for name in STEPS if f"pars-{name.lower()}step" == kind), "")


def _reftype(dotted):
    return f"pars-{dotted.rpartition('.')[2].lower()}"
