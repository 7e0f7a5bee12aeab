"""The parameters of outlier detection, read."""

from dataclasses import dataclass

from ...vocabulary import dq
from ...vocabulary.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """What `steps.outlier_detection.apply` was called with; the names are its own."""

    weight_type: str
    pixfrac: float
    kernel: str
    fillval: str
    maskpt: float
    snr: tuple  # (first pass, second pass)
    scale: tuple
    peak: tuple
    backg: float
    kernel_size: tuple
    threshold_percent: float
    rolling_window_width: int
    jitter: bool
    ifu_second_check: bool
    save_intermediate_results: bool
    resample_data: bool
    bad_bits: int
    in_memory: bool
    pixmap_stepsize: float
    pixmap_order: int
    by_wavelength: bool = True
    ifu_method: str = "dithers"


def numbers(name, text, count=2, kind=float):
    """`count` numbers that are written one after the other.

    Raises
    ------
    ConfigError
        The text is something else.
    """
    try:
        found = tuple(kind(part) for part in str(text).replace(",", " ").split())
    except ValueError:
        found = ()
    if len(found) != count or not all(value >= 0 for value in found):
        raise ConfigError(
            f"{name} of outlier_detection has to be {count} numbers of at least 0, it is {text!r}", do="Write it like '5.0 4.0'"
        )
    return found


def bad_bits(good_bits):
    """Bits that make a pixel unusable, from those that do not.

    Parameters
    ----------
    good_bits : str
        Names or numbers of bits, joined by "," or "+"; "~" before them turns it about; "None": all bits are good.

    Raises
    ------
    ConfigError
        It can't be read.
    """
    from astropy.nddata.bitmask import extend_bit_flag_map, interpret_bit_flags

    names = extend_bit_flag_map("JWST", **{name: bit for name, bit in dq.BY_NAME.items() if bit})
    try:
        good = interpret_bit_flags(good_bits.strip(), flag_name_map=names)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"good_bits of outlier_detection can't be read: {error}", do="Write it like '~DO_NOT_USE' or '4,16'") from error
    return 0 if good is None else ~good & 0xFFFFFFFF
