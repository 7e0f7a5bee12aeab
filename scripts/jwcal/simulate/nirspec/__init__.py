"""NIRSpec: its optics, the references that undo what is simulated, spectra through its slits, shutters and slicer, and its images."""

from .references import write_references
from .shutters import Slitlet, examples, write_msa

__all__ = ["Slitlet", "examples", "write_msa", "write_references"]
