"""How overlapping orders are told apart and summed: the parameters of extract_1d for them."""

from dataclasses import dataclass


@dataclass
class SossOptions:
    """The step's parameters."""

    subtract_background: bool | None = None
    bad_pixels: str = "replace"
    soss_atoca: bool = True
    soss_threshold: float = 1e-2
    soss_n_os: int = 2
    soss_wave_grid_in: str | None = None
    soss_wave_grid_out: str | None = None
    soss_estimate: str | None = None
    soss_rtol: float = 1e-4
    soss_max_grid_size: int = 20000
    soss_tikfac: float | None = None
    soss_width: float = 40.0
    soss_bad_pix: str = "masking"
    soss_modelname: str | None = None
    soss_order_3: bool = True
