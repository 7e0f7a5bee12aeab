"""What a notebook holds of a product: an exposure that says what it is, writes itself, and hands on its spectra and tables."""

from contextlib import suppress
from pathlib import Path

from .model.exposure import Exposure
from .products import stored
from .settings import chains, selector, tables
from .vocabulary import keywords
from .vocabulary.errors import ConfigError, InputError

COMPLETE = "COMPLETE"
COLUMNS = 4  # of a table that are named
UNITS = {"WAVELENGTH": "um", "FLUX": "Jy", "FLUX_ERROR": "Jy"}  # where a table's columns tell none


class Product(Exposure):
    """An exposure as people see it: what `jwcal.open` and `jwcal.run_pipeline` return.

    Its arrays are `sci`, `err`, `dq`, `var_poisson`, `var_rnoise`, `var_flat`; `wcs` tells where pixels look; `header["KEYWORD"]` reads the
    primary header, then that of SCI, and has the keywords that the file would have.

    Examples
    --------
    >>> cal = jwcal.open("jw..._cal.fits")  # doctest: +SKIP
    >>> cal.write("copy_cal.fits")  # doctest: +SKIP
    """

    @property
    def filename(self):
        """The archive's name of the product: where it was read from, or what it would be called."""
        root = self.product or chains.root_and_suffix(self.name)[0]
        return chains.placed(root, f"_{self.suffix}.{'ecsv' if self.catalogue is not None else 'fits' if self.tree is None else 'asdf'}")

    def __repr__(self):
        return f"<{self.suffix} of {chains.root_and_suffix(self.name)[0]}: {', '.join(self._about())}>"

    def _about(self):
        """What it is, in a few words."""
        header = self.header
        wheels = [str(header.get(key)) for key in ("FILTER", "PUPIL", "GRATING", "CHANNEL", "BAND")]
        wheels = [name for name in wheels if name not in ("None", "", "N/A")]
        where = [str(header.get(key)) for key in ("INSTRUME", "DETECTOR", "EXP_TYPE") if header.get(key)]
        if where:
            yield " ".join(where)
        if wheels:
            yield " ".join(wheels)
        if len(self.pixels) > 1:
            yield f"{len(self.pixels)} slits"
        elif self.pixels and (self.sci is not None or self.raw is not None):
            yield f"{' x '.join(map(str, self.shape))} {header.get('BUNIT') or ''}".strip()
        if self.spectra:
            yield f"{len(self.spectra)} {'spectrum' if len(self.spectra) == 1 else 'spectra'}"
        if self.catalogue is not None:
            yield f"a table of {len(self.catalogue)} rows with {', '.join(self.catalogue.colnames[:COLUMNS])}"
            return  # a text file tells no steps
        done = [step for step, (status, _) in self.steps.items() if status == COMPLETE] or _done_before(header)
        yield f"steps: {', '.join(done)}" if done else "no step is done"

    def write(self, path):
        """Write the product as the workflow would, all or nothing; returns the path.

        Raises
        ------
        ProductError
        """
        return stored.write(self, Path(path))

    def to_hdulist(self):
        """The product as an astropy HDUList, as its file would be.

        Raises
        ------
        ConfigError
            The product is no FITS file.
        """
        if self.catalogue is not None or self.tree is not None:
            raise ConfigError(f"a product {self.suffix} is no FITS file", self.name, "Use .write, or .catalogue")
        return stored.hdu_list(self, self.filename)

    def to_spectra(self):
        """The spectra as specutils.Spectrum, with uncertainties and a mask where a sample is not to be used.

        Raises
        ------
        ConfigError
            specutils is not installed: pip install specutils.
        InputError
            It has no spectra.
        """
        if not self.spectra:
            raise InputError(f"a product {self.suffix} has no spectra", self.name, "Open an x1d, c1d or x1dints")
        try:
            import specutils
        except ImportError:
            raise ConfigError("specutils is not installed", do="pip install specutils, or use .to_tables()") from None
        from astropy import units
        from astropy.nddata import StdDevUncertainty

        make = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
        found = []
        for table in _one_a_spectrum(self.to_tables()):
            unit = {name: units.Unit(table[name].unit or UNITS[name]) for name in ("WAVELENGTH", "FLUX")}
            about = {"header": dict(self.header.items()), "name": table.meta.get("SLTNAME", "")}
            mask = (table["DQ"] & 1).astype(bool) if "DQ" in table.colnames else None
            error = next((table[name] for name in ("FLUX_ERROR", "ERROR") if name in table.colnames), None)
            uncertainty = None if error is None else StdDevUncertainty(error.data, unit=unit["FLUX"])
            flux, wavelength = table["FLUX"].data * unit["FLUX"], table["WAVELENGTH"].data * unit["WAVELENGTH"]
            found.append(make(flux=flux, spectral_axis=wavelength, uncertainty=uncertainty, mask=mask, meta=about))
        return found

    def to_tables(self):
        """The spectra, or the catalogue, or the tables, as astropy tables with units; meta has the keywords of each."""
        from astropy.table import Table

        if self.catalogue is not None:
            return [self.catalogue]
        if not self.spectra:
            return [Table(rows, meta={"EXTNAME": name}) for name, rows in self.tables.items()]
        return [_table(spectrum) for spectrum in self.spectra]


def _done_before(header):
    """The steps that a file's keywords say are done, in the order of its pipelines; some steps share a keyword, of those it has one."""
    order = {}
    with suppress(InputError):
        own = [name for name in selector.select_for(header) if name and chains.is_built(name, header)]
        order = dict.fromkeys(step.name for name in own for step in chains.chain(name, header).steps)
    if not order:  # nobody knows which are its own
        order = dict.fromkeys(step for pipeline in tables.table("pipelines") for step in chains.steps_of(pipeline))
    known = {step: keywords.status(step) for step in order}
    return [step for step, keyword in known.items() if keyword and header.get(keyword[0]) == COMPLETE]


def _table(spectrum):
    from astropy.table import Table

    table = Table(spectrum.table, meta=dict(spectrum.header.items()))
    for number, name in enumerate(spectrum.table.dtype.names, start=1):
        unit = spectrum.header.get(f"TUNIT{number}") or UNITS.get(name)
        if unit:
            table[name].unit = unit
    return table


def _one_a_spectrum(tables):
    """Tables of one spectrum each: a row of vectors becomes one, as long as its N_ALONGDISP says."""
    from astropy.table import Table

    for table in tables:
        if table["FLUX"].ndim == 1:
            yield table
            continue
        vectors = [name for name in table.colnames if table[name].ndim == 2]
        for row in table:
            length = int(row["N_ALONGDISP"]) if "N_ALONGDISP" in table.colnames else len(row["FLUX"])
            own = {name: row[name] for name in table.colnames if name not in vectors}
            one = Table({name: row[name][:length] for name in vectors}, meta=table.meta | own)
            for name in vectors:
                one[name].unit = table[name].unit
            yield one


def product(exposure):
    """The same exposure as a Product, with the keywords in its header that its file would have; arrays are not copied."""
    if not isinstance(exposure, Exposure):
        return exposure
    made = Product(exposure.header)
    vars(made).update(vars(exposure))
    if made.recipe is not None and made.catalogue is None and made.tree is None:
        stored.tell(made, made.filename)
    return made
