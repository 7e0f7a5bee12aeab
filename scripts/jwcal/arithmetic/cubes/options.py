"""How cubes are made: the parameters of cube_build."""

from dataclasses import dataclass


@dataclass
class Options:
    """The step's parameters."""

    channel: str
    band: str
    grating: str
    filter: str
    output_type: str
    linear_wave: bool
    scalexy: float
    scalew: float
    weighting: str
    coord_system: str
    ra_center: float | None
    dec_center: float | None
    cube_pa: float | None
    nspax_x: int | None
    nspax_y: int | None
    rois: float
    roiw: float
    weight_power: float
    wavemin: float | None
    wavemax: float | None
    skip_dqflagging: bool
    offset_file: str | None
    slicer_corners: str
    debug_spaxel: str
