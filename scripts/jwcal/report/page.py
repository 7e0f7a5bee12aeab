"""The report: what a results folder holds -> one HTML page that needs nothing else."""

import json
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, wait
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from ..files import storage
from ..version import VERSION
from . import remains, tables
from .measure import measured
from .words import duration, number

HERE = Path(__file__).parent
CACHE = ".jwcal/report"  # in the results folder
EVERY = 5.0  # s between two signs of life


def write(folder, out, most_pictures=400, cores=1, tell=None):
    """Write the report of a results folder.

    Parameters
    ----------
    folder, out : path
    most_pictures : int
        Products that are drawn; of more than these the first of each kind, then the second...
    cores : int
    tell : callable, optional
        Told every few seconds how far it is: see `look`.

    Raises
    ------
    JwcalError
        The folder is not that of a run, or the page can't be written.
    """
    results = remains.read(folder)
    found = look(results.products, Path(folder, CACHE), most_pictures, cores, tell)
    with storage.replaced(out) as temporary:
        temporary.write_text(page(results, found, Path(out).absolute().parent, Path(folder, CACHE)), encoding="utf-8")


def look(products, cache, most_pictures, cores, tell=None):
    """What `measure.measured` says of each product, by path.

    Parameters
    ----------
    products : list of (Job, Product)
    cache : path
    most_pictures, cores : int
    tell : callable, optional
        Called as tell(how many have been looked at, of how many) every `EVERY` seconds.
    """
    tell = tell or (lambda *_: None)
    drawn = chosen(products, most_pictures)
    paths = [product.path for _, product in products]
    tasks = (paths, [cache] * len(paths), [path in drawn for path in paths])
    if cores == 1 or len(paths) < 4:
        return dict(_one_by_one(zip(*tasks, strict=True), len(paths), tell))
    with ProcessPoolExecutor(cores) as pool:
        found = {task[0]: pool.submit(measured, *task) for task in zip(*tasks, strict=True)}
        left = set(found.values())
        while left:
            left = wait(left, timeout=EVERY).not_done
            if left:
                tell(len(paths) - len(left), len(paths))
        return {path: future.result() for path, future in found.items()}


def _one_by_one(tasks, number, tell):
    said = time.monotonic()
    for done, task in enumerate(tasks):
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            tell(done, number)
        yield task[0], measured(*task)


def chosen(products, most):
    """The products that are drawn: the last stage's first; of each suffix and pipeline by turns."""
    kinds = defaultdict(list)
    for job, product in products:
        kinds[job.stage, job.pipeline, product.suffix].append(product.path)
    by_turns = zip_longest(*(kinds[kind] for kind in sorted(kinds, reverse=True)))
    return set([path for path in chain.from_iterable(by_turns) if path is not None][:most])


def page(results, found, base, cache=None):
    """The page.

    Parameters
    ----------
    results : records.Results
    found : dict
        Path -> what `measure.measured` says.
    base : path
        Folder of the page, which its links start from.
    cache : path, optional
        Folder for what was drawn.

    Returns
    -------
    str
    """
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(duration=duration, number=number, name=breakable)
    rows, pool = tables.rows(results, found, base)
    data = json.dumps({"rows": rows, "pool": pool, "flags": tables.SHOWN_FLAGS}, separators=(",", ":")).replace("<", "\\u003c")
    return environment.get_template("template.html").render(
        title=_title(found),
        version=VERSION,
        newest=_newest(results),
        state=tables.state(results),
        stages=tables.stages(results),
        failures=[job for job in results.jobs if job.message],
        results=results,
        old=[job for job in results.jobs if job.state == remains.OLD],
        waiting=[job for job in results.jobs if job.state == remains.WAITING],
        gallery=tables.gallery(results, found, cache),
        data=data,
        times=tables.times(results),
        steps=tables.steps(results),
        flags=tables.flags(results, found),
        flag_names=tables.SHOWN_FLAGS,
        parameters=tables.parameters(results),
        references=tables.references(results),
        software=tables.software(results),
        associations=tables.associations(results),
        link=partial(tables.link, base=base),
    )


# --- words ---


def breakable(name):
    """A product's name that may be broken after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.removesuffix(".fits").split("_"))


def _title(found):
    keywords = [entry["keywords"] for entry in found.values()]
    programs = sorted({k["PROGRAM"] for k in keywords} - {""})
    instruments = sorted({k["INSTRUME"] for k in keywords} - {""})
    named = f"Program{'s' * (len(programs) > 1)} {', '.join(programs)}" if programs else "Calibration"
    return f"{named}: {', '.join(instruments)}" if instruments else named


def _newest(results):
    """When the newest product was made: the page says the same however often it is written."""
    times = [product.path.stat().st_mtime for _, product in results.products]
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(times))) if times else ""
