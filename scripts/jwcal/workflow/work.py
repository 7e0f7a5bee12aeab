"""The work of one job: a recipe is run, its products are written as soon as they are there, and their records after them."""

import os
import time
from pathlib import Path

from ..files import fingerprint, storage
from ..products import lists, stored
from ..provenance import records
from ..run import loop
from ..settings.chains import LIST
from ..vocabulary.errors import InputError, ProductError


class Shelf:
    """Where the exposures of a run are written to, and what was written.

    Parameters
    ----------
    outputs : dict
        Suffix -> path of the products that are known before the job runs. Others are not written, unless they have a name of their own.
    by_hand : bool
        All products go into one folder, where others may lie that this run does not write, and one whose step was skipped is no error.
    """

    def __init__(self, outputs, by_hand=False):
        self.outputs, self.by_hand = {suffix: Path(path) for suffix, path in outputs.items()}, by_hand
        self.written, self.listed, self.steps = {}, {}, {}

    def write(self, exposures):
        """Write those exposures that are products of the job: all that are given at once are there, or none."""
        wanted = [(exposure, self._place(exposure)) for exposure in exposures]
        wanted = [(exposure, path) for exposure, path in wanted if path is not None]
        forget(path for _, path in wanted)
        stored.write_all(wanted)
        for exposure, path in wanted:
            (self.listed if exposure.product else self.written)[path] = exposure.suffix
            self.steps.update(records.step_facts(exposure))

    def _place(self, exposure):
        if not exposure.product:
            return self.outputs.get(exposure.suffix)
        if LIST not in self.outputs:
            return None
        exposure.record = records.record_path(self.outputs[LIST]).name
        name = os.path.basename(exposure.product) if self.by_hand else exposure.product
        return Path(os.path.normpath(self.outputs[LIST].parent / f"{name}_{exposure.suffix}.fits"))

    def missing(self):
        """Suffixes of the products that were not written."""
        return [] if self.by_hand else sorted(set(self.outputs) - set(self.written.values()) - {LIST})

    def write_list(self):
        """Write the list of the products with a name of their own, if the job has one; returns its rows."""
        if LIST not in self.outputs:
            return []
        path = self.outputs[LIST]
        rows = []
        for product, suffix in sorted(self.listed.items()):
            size, mtime_ns = fingerprint.state(os.stat(product))
            name = os.path.relpath(product, path.parent)
            rows.append({"file": name, "suffix": suffix, "size": size, "digest": fingerprint.digest(product), "mtime_ns": mtime_ns})
        with storage.replaced(path) as temporary:
            temporary.write_text(lists.text(rows))
        self.written[path] = LIST
        return rows


def make(recipe, made_from, source, inputs, shelf, scratch=None, write=None):
    """Run a recipe on its files, and leave products and records.

    Parameters
    ----------
    recipe : Recipe
    made_from : dict
        Its `records.ingredients`.
    source : path
    inputs : list of (path, str)
        All files that it reads, as `records.measured` takes them.
    shelf : Shelf
    scratch : path, optional
    write : callable, optional
        In place of `shelf.write`, which it calls.

    Returns
    -------
    list of Exposure
        What is left at the end of the chain.

    Raises
    ------
    JwcalError
    """
    started = time.time()
    before = records.measured(inputs)
    old = listed_before(shelf.outputs)
    if not shelf.by_hand:
        forget(shelf.outputs.values())
    left = loop.run(recipe, source, write or shelf.write, scratch)
    missing = shelf.missing()
    if missing:
        raise ProductError(f"{', '.join(missing)} not made: the steps that make it were skipped", source, "Look at the log for why")
    rows = shelf.write_list()
    _check_unchanged(inputs, before)
    records.write(shelf.written, made_from, before, records.run_facts(started, shelf.steps), recipe.context, rows)
    for path in old - {str(path) for path in shelf.listed}:
        Path(path).unlink(missing_ok=True)
    return left


def forget(products):
    """Remove the records of products that are made again: one that is not finished has none."""
    for product in products:
        with storage.writing(product):
            records.record_path(product).unlink(missing_ok=True)


def listed_before(outputs):
    """The files that the list of a job's last run names, as it is in its record."""
    if LIST not in outputs:
        return set()
    record = records.read(outputs[LIST])
    return {path for path, _ in records.listed(outputs[LIST], record)}


def _check_unchanged(inputs, before):
    """Raise InputError where an input was replaced while it was read."""
    for (path, _), known in zip(inputs, before, strict=True):
        if not os.path.exists(path) or fingerprint.state(os.stat(path)) != [known["size"], known["mtime_ns"]]:
            raise InputError("it was replaced while it was read", path, "Run again when it is whole")
