"""How spectra are extracted: the parameters of extract_1d."""

from dataclasses import dataclass


@dataclass
class Options:
    """The step's parameters."""

    subtract_background: bool | None = None
    apply_apcorr: bool = True
    extraction_type: str | None = "box"
    use_source_posn: bool | None = None
    position_offset: float = 0.0
    model_nod_pair: bool = True
    optimize_psf_location: bool = True
    smoothing_length: int | None = None
    bkg_fit: str | None = None
    bkg_order: int | None = None
    psf_total: str = "whole"
    bad_pixels: str = "replace"
    move_background: bool = True
    save_profile: bool = False
    save_scene_model: bool = False
    save_residual_image: bool = False
    center_xy: list | None = None
    ifu_autocen: bool = False
    bkg_sigma_clip: float = 3.0
    ifu_rfcorr: bool = True
    ifu_set_srctype: str | None = None
    ifu_rscale: float | None = None
    ifu_covar_scale: float = 1.0
    ifu_centre: str = "fraction"
    ifu_bkg_area: str = "used"
