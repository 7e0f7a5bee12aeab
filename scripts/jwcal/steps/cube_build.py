"""Put the slices of integral field units onto cubes: two axes on the sky, one of wavelengths."""

from typing import Annotated, Literal

from ..arithmetic.cubes.build import cubes
from ..arithmetic.cubes.options import Options
from ..machine.parts import part
from ..vocabulary.parameters import Range

REFERENCES = ("cubepar",)
NEEDS = ("err",)
PARTS = {"kind": {"mrs": "arithmetic/cubes/mrs", "nirspec": "arithmetic/cubes/nirspec"}}

Band = Literal[
    "short", "medium", "long", "short-medium", "short-long", "medium-short", "medium-long", "long-short", "long-medium", "all"
]  # fmt: skip


def apply(
    exposure,
    refs,
    kind: str = "mrs",
    *,
    channel: Literal["1", "2", "3", "4", "all"] = "all",
    band: Band = "all",
    grating: Literal["prism", "g140m", "g140h", "g235m", "g235h", "g395m", "g395h", "all"] = "all",
    filter: Literal["clear", "f100lp", "f070lp", "f170lp", "f290lp", "all"] = "all",
    output_type: Literal["band", "channel", "grating", "multi"] = "band",
    linear_wave: bool = True,
    scalexy: Annotated[float, Range(min=0)] = 0.0,
    scalew: Annotated[float, Range(min=0)] = 0.0,
    weighting: Literal["emsm", "msm", "drizzle"] = "drizzle",
    coord_system: Literal["skyalign", "world", "internal_cal", "ifualign"] = "skyalign",
    ra_center: float | None = None,
    dec_center: float | None = None,
    cube_pa: float | None = None,
    nspax_x: Annotated[int, Range(min=1)] | None = None,
    nspax_y: Annotated[int, Range(min=1)] | None = None,
    rois: Annotated[float, Range(min=0)] = 0.0,
    roiw: Annotated[float, Range(min=0)] = 0.0,
    weight_power: Annotated[float, Range(min=0)] = 2.0,
    wavemin: float | None = None,
    wavemax: float | None = None,
    skip_dqflagging: bool = False,
    offset_file: str | None = None,
    slicer_corners: Literal["own", "next"] = "own",
    debug_spaxel: str = "-1 -1 -1",
):
    """Make the cubes of one exposure, or of those of an association.

    A pixel is as wide as its slice. Drizzled, it counts in a voxel with the area that the two share on the sky times the wavelengths that
    they share (Law et al. 2023, AJ 166, 45). With "msm" its weight falls with the distance, in voxels, as 1 / d^weight_power (Shepard's
    method), with "emsm" as exp(-d^2 / scale), within a region of interest. Voxels are weighted means of surface brightness; the
    errors are those of the voxel alone, which shares pixels with its neighbours.

    Parameters
    ----------
    exposure : Exposure, exposure.Members or iterable of Exposure
        (row, col) in MJy/sr, with a gWCS to the sky and wavelength. Members are opened one at a time, each once.
    refs : References
        cubepar.
    kind : str
        The instrument's slices, one of PARTS; given by the table of chains.
    channel, band, grating, filter : str
        Take these alone. One cube is made of all that are taken, where output_type does not say otherwise.
    output_type : {"band", "channel", "grating", "multi"}
        A cube for each band, or channel; "grating" is the same as "band". "multi": one of all, whose wavelengths are not at equal steps.
    linear_wave : bool
        Wavelengths at equal steps, and not those of a table in the reference.
    scalexy, scalew : float
        Size of the voxels, arcsec and micron; 0: as the reference says.
    weighting : {"drizzle", "emsm", "msm"}
        How pixels count in a voxel: by the area that they share, or by their distance.
    coord_system : {"skyalign", "world", "internal_cal", "ifualign"}
        North up ("world" is the same), or along the slices; "internal_cal" (NIRSpec, one exposure): places on the slicer, a column a
        slice, where pixels count with the part of them that lies in a voxel, along the slice and in wavelength.
    ra_center, dec_center : float, optional
        Middle of the cube, degrees.
    cube_pa : float, optional
        Position angle of the second axis, degrees from north over east.
    nspax_x, nspax_y : int, optional
        Columns and rows; an even number is made odd by one more.
    rois, roiw : float
        Region of interest, arcsec and micron; 0: as the reference says, half as large again with fewer than four exposures.
    weight_power : float
        Of "msm"; 0: as the reference says.
    wavemin, wavemax : float, optional
        Limits of the wavelengths, micron.
    skip_dqflagging : bool
        Without effect: a voxel without a pixel is DO_NOT_USE and NON_SCIENCE, whether it is outside the field or a hole in it.
    offset_file : str, optional
        ASDF file with shifts of the exposures.
    slicer_corners : {"own", "next"}
        Of "internal_cal": a pixel reaches half of it to each side of its middle; or, as the peer has it, from its middle to that of the
        next one, which moves all by half a pixel along the slice and in wavelength.
    debug_spaxel : str
        Column, row and plane of a voxel: the log says what each exposure gives to it.

    Returns
    -------
    list of Exposure
        Suffix "s3d": SCI, ERR, DQ and WMAP, the number of pixels in each voxel, all (plane, row, col); WCS-TABLE, and of several
        exposures HDRTAB.

    Raises
    ------
    InputError
        A keyword or WCS is missing, the cube would be larger than memory, no pixel looks at the sky.
    ReferenceError
        cubepar has no row for a band.
    ConfigError
        No exposure has what is to be taken, or parameters contradict each other.
    """
    given = dict(locals())
    options = Options(**{name: given[name] for name in Options.__dataclass_fields__})
    if options.coord_system == "world":
        options.coord_system = "skyalign"
    if options.output_type == "multi":
        options.linear_wave = False
    return cubes(exposure, refs["cubepar"], part(PARTS["kind"], kind), options)
