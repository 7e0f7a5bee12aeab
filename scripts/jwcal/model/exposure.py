"""What a step sees: an exposure's arrays, keywords, tables and WCS. No file is opened here.

One class serves every stage, because every product is a list of pixel grids with keywords and tables:

===================  ======================================  =====================================
product              pixels                                  tables
===================  ======================================  =====================================
ramp                 1: sci (int, group, row, col)           INT_TIMES, GROUP
rate, cal, i2d       1: sci (row, col)
rateints, calints    1: sci (int, row, col)                  INT_TIMES
slits (MOS, FS...)   1 a slit or source, each with its WCS   INT_TIMES
IFU cube             1: sci (wavelength, row, col)           WCS-TABLE
spectra              none: `spectra` is a list of them       INT_TIMES
catalogue            none: `catalogue` is a table
members              a list of exposures, opened on demand   (class `Members`)
===================  ======================================  =====================================
"""

import copy
import itertools
import logging
import os
import tempfile
from dataclasses import dataclass, field, replace

import numpy as np

from ..machine.threads import by_rows
from ..vocabulary import dq, limits
from ..vocabulary.errors import InputError

log = logging.getLogger(__name__)

PLANES = ("sci", "err", "dq", "groupdq", "var_poisson", "var_rnoise", "var_flat")
LARGE = 64 * 2**20  # bytes of what is made of all members, beyond which it is kept in scratch files


class Header:
    """Keywords of an exposure: the primary header and that of the science extension, read as one.

    A keyword that is there is set where it stands; a new one goes into the primary header,
    or into the science header with `header.sci[...] = ...`.

    Parameters
    ----------
    primary, sci : astropy.io.fits.Header
    name : str
        The exposure's file, for messages.
    """

    def __init__(self, primary, sci, name=""):
        self.primary, self.sci, self.name = primary, sci, name

    @property
    def instrument(self):
        """The instrument's name, to look something up or to write it down: what depends on it the tables of config/ say."""
        return self["INSTRUME"]

    def __contains__(self, keyword):
        return keyword in self.primary or keyword in self.sci

    def get(self, keyword, default=None):
        """The keyword's value, or the default where it is absent or empty; InputError where it can't be right (`limits`)."""
        for part in (self.primary, self.sci):
            if keyword in part:
                value = part[keyword]
                if value is not None and not isinstance(value, _UNDEFINED):
                    wrong = limits.fault(keyword, value)
                    if wrong:
                        raise InputError(wrong, self.name, limits.CORRECT)
                    return value
        return default

    def __getitem__(self, keyword):
        value = self.get(keyword)
        if value is None:
            raise InputError(f"the keyword {keyword} is missing", file=self.name, do="Take the file from the archive again, or set it")
        return value

    def keys(self):
        """All keywords, those of the primary header first."""
        return [*dict.fromkeys([*self.primary, *self.sci])]

    def items(self):
        """All keywords with their values."""
        return [(keyword, self.get(keyword)) for keyword in self.keys() if keyword]

    def __setitem__(self, keyword, value):
        part = self.sci if keyword in self.sci and keyword not in self.primary else self.primary
        part[keyword] = in_ascii(value)

    def __delitem__(self, keyword):
        for part in (self.primary, self.sci):
            part.remove(keyword, ignore_missing=True, remove_all=True)

    def copy(self):
        return Header(self.primary.copy(), self.sci.copy(), self.name)

    def __copy__(self):
        return self.copy()


def in_ascii(value):
    """A value as a header can hold it: the letters of names in other alphabets as \\xe9, \\u0142."""
    return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value


def _undefined():
    from astropy.io.fits.card import Undefined

    return Undefined


_UNDEFINED = _undefined()


@dataclass
class Pixels:
    """The arrays on one pixel grid, and where it looks.

    `sci`, `err` and the variances are float32, `dq` is uint32, `groupdq` is uint8; all in the machine's byte order.
    For a ramp `dq` is the 2-D PIXELDQ. `extra` holds what only some products have, by extension name: AREA, WHT, CON, ZEROFRAME...
    """

    sci: np.ndarray = None
    err: np.ndarray = None
    dq: np.ndarray = None
    groupdq: np.ndarray = None
    var_poisson: np.ndarray = None
    var_rnoise: np.ndarray = None
    var_flat: np.ndarray = None
    extra: dict = field(default_factory=dict)
    header: object = None  # the science extension's keywords, of this slit
    wcs: object = None  # gwcs.WCS
    about: dict = field(default_factory=dict)  # what has no keyword, of a slit: slit_ymin, slit_ymax, xcen... (`products.slits.ABOUT`)

    @property
    def shape(self):
        return self.sci.shape

    def planes(self):
        """The arrays that are there: (name, array), those of `extra` left out."""
        return [(name, getattr(self, name)) for name in PLANES if getattr(self, name) is not None]

    def get(self, name):
        """A plane, or a map of `extra`; None where there is none."""
        return getattr(self, name) if name in PLANES else self.extra.get(name)

    def put(self, name, array):
        """Set a plane, or a map of `extra`."""
        if name in PLANES:
            setattr(self, name, array)
        else:
            self.extra[name] = array


class _OfOnlyGrid:
    """An attribute of the only pixel grid, lent to its exposure; InputError where there is not one grid."""

    def __init__(self, name):
        self.name = name

    def __get__(self, exposure, owner=None):
        return self if exposure is None else getattr(exposure.only, self.name)

    def __set__(self, exposure, value):
        setattr(exposure.only, self.name, value)


class Exposure:
    """An exposure on its way through a chain.

    Parameters
    ----------
    header : Header
    pixels : list of Pixels
    tables : dict of structured arrays by extension name
    suffix : str
        What it would be called if it were written now: "uncal", "rate", "cal", "i2d"...
    """

    # An exposure with one pixel grid lends its arrays their short names.
    sci: np.ndarray = _OfOnlyGrid("sci")
    err: np.ndarray = _OfOnlyGrid("err")
    dq: np.ndarray = _OfOnlyGrid("dq")
    pixeldq: np.ndarray = _OfOnlyGrid("dq")  # what `dq` is called in a ramp, beside `groupdq`
    groupdq: np.ndarray = _OfOnlyGrid("groupdq")
    var_poisson: np.ndarray = _OfOnlyGrid("var_poisson")
    var_rnoise: np.ndarray = _OfOnlyGrid("var_rnoise")
    var_flat: np.ndarray = _OfOnlyGrid("var_flat")
    extra: dict = _OfOnlyGrid("extra")
    wcs: object = _OfOnlyGrid("wcs")
    about: dict = _OfOnlyGrid("about")

    def __init__(self, header, pixels=(), tables=None, suffix=""):
        self.header = header
        self.pixels = list(pixels)
        self.tables = dict(tables or {})
        self.suffix = suffix
        self.spectra = []  # of spectra.Spectrum
        self.steps = {}  # step -> (COMPLETE | SKIPPED, why)
        self.seconds = {}  # step -> time it took
        self.references = {}  # reference type -> name of the file that was used
        self.recipe = None  # Recipe of the chain that it is in
        self.members = Members()  # of its association: what steps subtract from it...
        self.tree = None  # all of a product that is an ASDF file
        self.product = ""  # the name of the product without its suffix, where it is not the job's: of one of several members or sources
        self.record = ""  # the name of the record that tells of it, where it is not its own
        self.catalogue = None  # all of a product that is a table in a text file (.ecsv): astropy.table.Table
        self.read_times = None  # of each group's reads, s, where groups do not follow each other evenly
        self.prepared = {}  # step -> what its `prepare` found out about the whole exposure
        self.raw = None  # where the samples of a ramp come from that was not read yet: .shape, .read(slice)
        self.samples = None  # ramp.Ramp in which the samples are while they are walked
        # where this block stands in the whole exposure (see ramp.py); a whole exposure has the defaults
        self.integrations = slice(0, None)
        self.rows = self.inner = slice(0, None)  # `inner`: without the halo
        self.notes = []  # sentences: what was read otherwise than it is in the file, or assumed
        self._dead_groups = None

    @property
    def name(self):
        return self.header.name

    def load(self):
        """Read the samples of the whole ramp."""
        if self.raw is not None:
            self.sci, self.groupdq = self.raw.read(slice(0, self.raw.shape[0]))
            self.raw = None

    def tell_notes(self):
        """Log what was read otherwise than it is in the file."""
        for note in self.notes:
            log.warning("%s: %s", self.name, note)

    @property
    def shape(self):
        """Of the samples (int, group, row, col), in memory or not, or of the image."""
        return next(held for held in (self.sci, self.samples, self.raw) if held is not None).shape

    @property
    def first_integration(self):
        """Number, from 0, of this block's first integration in the whole exposure, of which the file may be a segment (INTSTART)."""
        return int(self.header.get("INTSTART", 1)) - 1 + (self.integrations.start or 0)

    def flag(self, image, flags_of=lambda flags: flags):
        """Add flags, uint32 (row, col), to those of the pixels: an image of them, or what flags_of(rows of an image) gives."""

        def add(rows):
            self.pixeldq[rows] |= flags_of(image[rows])

        by_rows(add, image)

    def blocks(self, keep=False):
        """Go through a ramp by whole integrations: exposures that hold some of them. One that is in memory is its only block.

        Parameters
        ----------
        keep : bool
            Whether what is done to the samples is kept (what is done to the pixels' flags always is).
        """
        return iter([self]) if self.samples is None else self.samples.blocks(self, keep)

    def strips(self, halo=0, keep=False, last=False):
        """Go through a ramp by strips of rows, with all integrations; see `blocks`, and `ramp.Ramp.strips`."""
        return iter([self]) if self.samples is None else self.samples.strips(self, halo, keep, last)

    @property
    def own(self):
        """Which of a strip's rows are not its halo: a slice of its arrays."""
        first = self.inner.start - self.rows.start
        return slice(first, None if self.inner.stop is None else self.inner.stop - self.rows.start)

    @property
    def dead_groups(self):
        """Groups that are DO_NOT_USE in every pixel of the whole exposure, bool (int, group)."""
        return dead_groups(self.groupdq) if self._dead_groups is None else self._dead_groups

    @dead_groups.setter
    def dead_groups(self, dead):
        self._dead_groups = dead

    @property
    def only(self):
        """The only pixel grid; InputError where there are several, or none."""
        if len(self.pixels) != 1:
            found = f"{len(self.pixels)} slits" if self.pixels else "no image"
            spectra = f" but {len(self.spectra)} spectra" if self.spectra else ""
            raise InputError(f"it has {found}{spectra}, one image was expected", file=self.name)
        return self.pixels[0]

    def slits(self):
        """Lend each slit, or source, as an exposure of its own: one grid, the keywords of all with its own in the science header.

        What is done to its arrays, keywords and WCS is done to the slit of this exposure; the bookkeeping is shared. An exposure of
        one grid is its only slit.
        """
        for pixels in self.pixels:
            part = copy.copy(self)
            part.pixels = [pixels]
            part.header = self.header if pixels.header is None else Header(self.header.primary, pixels.header, self.header.name)
            yield part

    def block(self, pixels, integrations=None, rows=None, inner=None):
        """A part of this exposure that shares its keywords, tables and bookkeeping."""
        part = copy.copy(self)
        part.pixels, part.samples = [pixels], None
        part.integrations = integrations or self.integrations
        part.rows = rows or self.rows
        part.inner = inner or part.rows
        return part

    def derive(self, pixels, suffix):
        """A new exposure with copies of this one's keywords and bookkeeping, and other pixels.

        Pixels with a header of their own (slits) keep it; that of the first becomes the exposure's science header, as in a file.
        """
        new = Exposure(self.header.copy(), pixels, self.tables, suffix)
        new.steps, new.seconds, new.references, new.recipe = dict(self.steps), dict(self.seconds), dict(self.references), self.recipe
        new.members = self.members
        if new.pixels and new.pixels[0].header is not None:
            new.header.sci = new.pixels[0].header
        for p in new.pixels:
            p.header = new.header.sci if p.header is None else p.header
        return new

    def shell(self):
        """This exposure without its pixels: the same keywords, WCS, spectra and bookkeeping, which stay its own."""
        shell = copy.copy(self)
        shell.pixels = [Pixels(header=p.header, wcs=p.wcs, about=p.about) for p in self.pixels]
        shell.raw = shell.samples = None
        return shell

    def take_over(self, shell):
        """Go on with the keywords, the WCS and the bookkeeping of a `shell` of this exposure."""
        for name, value in vars(shell).items():
            if name not in ("pixels", "raw", "samples"):
                setattr(self, name, value)
        for mine, its in zip(self.pixels, shell.pixels, strict=True):
            mine.header, mine.wcs, mine.about = its.header, its.wcs, its.about

    def aside(self, suffix, **planes):
        """What a step has to show beside the exposure: a product of these planes, without tables; of keywords only if there are none."""
        new = self.derive([Pixels(**planes)] if planes else [], suffix)
        new.tables = {}
        return new


def dead_groups(groupdq):
    """Groups that are DO_NOT_USE in every pixel.

    Parameters
    ----------
    groupdq : ndarray of uint8, (int, group, row, col)

    Returns
    -------
    ndarray of bool, (int, group)
    """
    dead = np.zeros(groupdq.shape[:2], bool)
    for i, g in np.ndindex(*dead.shape):
        plane = groupdq[i, g]
        # nearly always the first row tells
        dead[i, g] = (plane[0] & dq.DO_NOT_USE).all() and (plane & dq.DO_NOT_USE).all()
    return dead


@dataclass
class Member:
    """One exposure of an association, and what is kept of it while it is closed."""

    source: object  # path, or an Exposure that is in memory
    kind: str = "science"
    shell: Exposure = None  # its keywords, WCS and bookkeeping, as they were left; without pixels
    kept: dict = field(default_factory=dict)  # (plane, number of the pixel grid) -> .npy file that has it

    @property
    def path(self):
        return self.source.name if isinstance(self.source, Exposure) else self.source


class Members:
    """The exposures of one association, opened one at a time.

    What a step does to a member's keywords, WCS and bookkeeping is there when the member is opened again; what it does to the
    arrays only of the planes that it says are to be kept. Members that are in memory are themselves, with all that is done to them.

    Parameters
    ----------
    members : list of (path or Exposure, str)
        File and its exptype: "science", "background", "psf"...
    read : callable
        path -> Exposure.
    name : str
        Of the association's product: "jw01234-o001_t001_nircam_f200w".
    asn_id : str
        "o001", "c1000", "a3001".
    table : path
        The association's file, for messages.
    scratch : path, optional
        Folder for kept planes; by default a temporary one.
    """

    suffix = "members"

    def __init__(self, members=(), read=None, name="", asn_id="", table="", scratch=None):
        self.every = [Member(source, kind) for source, kind in members]
        self.name, self.asn_id, self.table = name, asn_id, table
        self.steps, self.seconds, self.references = {}, {}, {}  # what was done to all of them: see `Exposure`
        self.recipe = None
        self.keeper = None  # other members in whose scratch files arrays of these are
        self.prepared = {}  # step -> what it has found out or made of all of them, for the steps after it
        self.catalogues = {}  # path of a member -> file with its stars, that the association names
        self._read, self._scratch, self._folder, self._held, self._rooms = read, scratch, None, 0, 0

    def __len__(self):
        return len(self.every)

    def of(self, kind="science"):
        """The members of one kind: list of `Member`."""
        return [member for member in self.every if member.kind == kind]

    def paths(self, kind="science"):
        return [member.path for member in self.of(kind)]

    def each(self, kind="science", keep=(), order=None):
        """Open the members of one kind in turn; only one of them is in memory.

        Parameters
        ----------
        kind : str
        keep : collection of str
            Planes ("sci", "dq"..., or extra ones, "TRACEMODEL") whose changes outlive the closing.
        order : iterable of int, optional
            Numbers of these members, to open some of them or all in another order.
        """
        members = self.of(kind)
        for member in members if order is None else [members[number] for number in order]:
            exposure = self.open(member)
            try:
                yield exposure
            finally:
                self._close(member, exposure, keep)
            del exposure

    def shells(self, kind="science"):
        """The members of one kind without their pixels: keywords, WCS and bookkeeping. Changes are kept."""
        for member in self.of(kind):
            if member.shell is None and not isinstance(member.source, Exposure):
                self._close(member, self.open(member), ())
        shells = [member.source if isinstance(member.source, Exposure) else member.shell for member in self.of(kind)]
        return [self._with_book(shell) for shell in shells]

    def open(self, member):
        """One member as it was left."""
        if isinstance(member.source, Exposure):
            return self._with_book(member.source)
        exposure = self._read(member.source)
        if member.shell is None:
            exposure.tell_notes()  # once
        else:
            exposure.take_over(member.shell)
        for (plane, number), path in member.kept.items():
            exposure.pixels[number].put(plane, np.load(path))
        return self._with_book(exposure)

    def together(self, suffixes):
        """One exposure of all grids of the members that are in memory and have one of these suffixes; None where there is none.

        Each grid has the keywords of its own exposure beside its own.
        """
        every = [member for member in self.each() if member.suffix in suffixes]
        if not every:
            return None
        grids = []
        for member in every:
            for pixels in member.pixels:
                header = member.header.primary.copy(strip=True)
                header.update(pixels.header)
                grids.append(replace(pixels, header=header))
        whole = every[0].derive(grids, every[0].suffix)
        whole.tables = {}
        return whole

    def _with_book(self, exposure):
        """A member with what was done to all of them in its own books."""
        exposure.steps.update(self.steps)
        exposure.seconds.update(self.seconds)
        exposure.references.update(self.references)
        exposure.recipe = self.recipe or exposure.recipe
        return exposure

    def _close(self, member, exposure, keep):
        if isinstance(member.source, Exposure):
            return
        member.shell = exposure.shell()
        for plane, (number, pixels) in itertools.product(keep, enumerate(exposure.pixels)):
            array = pixels.get(plane)
            if array is None:
                continue
            path = member.kept[plane, number] = self._scratch_file(self.every.index(member), f"{number}.{plane}")
            np.save(path, array)

    def room(self, name, shape, kind=np.float32):
        """An array of zeros for what is made of all members: in memory as long as all of these are small, else in a scratch file.

        Parameters
        ----------
        name : str
            Of the file.
        shape : tuple of int
        kind : dtype
        """
        self._held += np.prod(shape, dtype=float) * np.dtype(kind).itemsize
        if self._held <= LARGE:
            return np.zeros(shape, kind)
        self._rooms += 1  # each has a file of its own: an older one of the name may be in use
        return np.lib.format.open_memmap(os.path.join(self._files(), f"{name}.{self._rooms}.npy"), "w+", kind, tuple(shape))

    def _scratch_file(self, number, plane):
        return os.path.join(self._files(), f"{number}.{plane}.npy")

    def _files(self):
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="jwcal-members-", dir=self._scratch)
        return self._folder.name
