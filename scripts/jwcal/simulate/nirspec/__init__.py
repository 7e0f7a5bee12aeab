"""NIRSpec: its optics, the references that undo what is simulated, spectra through its slits, shutters and slicer, and its images.

    from jwcal.simulate import nirspec

    files = nirspec.write_references("references", mode="fs", grating="PRISM", real="folder of real references")
    one = nirspec.simulate_slits(files, sources=[spectrograph.Source(spectrograph.Spectrum(flux=5e-3, at=2.0))])
    one.exposure, one.truth.image

    made = nirspec.expose_slits("program", real="folder of real references")
    made.exposures.uncals                   # raw files, with references and a CRDS cache beside them

`real` is a folder with real optical models, where there is one; without it they are made up.
"""

from .images import Star, simulate_image
from .program import expose_image, expose_lamp, expose_series, expose_slicer, expose_slitlets, expose_slits, write_program
from .rates import (
    lines,
    places_in_shutters,
    places_on_sky,
    simulate_lamp,
    simulate_series,
    simulate_slicer,
    simulate_slitlets,
    simulate_slits,
)
from .references import write_references
from .shutters import Slitlet, examples, write_msa

__all__ = [
    "Slitlet",
    "Star",
    "examples",
    "expose_image",
    "expose_lamp",
    "expose_series",
    "expose_slicer",
    "expose_slitlets",
    "expose_slits",
    "lines",
    "places_in_shutters",
    "places_on_sky",
    "simulate_image",
    "simulate_lamp",
    "simulate_series",
    "simulate_slicer",
    "simulate_slitlets",
    "simulate_slits",
    "write_msa",
    "write_program",
    "write_references",
]
