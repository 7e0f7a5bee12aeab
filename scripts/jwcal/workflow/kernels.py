"""The kernels that jobs need, compiled before the first of them starts: once, side by side, in processes of their own."""

import subprocess
import sys
import tempfile
import time

from ..provenance import codebase, records

# Kernels that only an exposure with such members calls: most images have no background, and it takes seconds to compile.
OF_MEMBERS = {"columns/clipped_mean": "background"}
EVERY = 8  # s between two lines about how far it is, at least


def needed(recipes):
    """The modules of kernels that some recipes' steps are made of: "ramps/ols_ramp"..., sorted; but for those of options."""
    from ..kernels import signatures  # numba, which planning does without

    code = codebase.Code()
    ways = {(tuple(records.roots(recipe, code)), *sorted({member["exptype"] for member in recipe.members})) for recipe in recipes}
    modules = set()
    for roots, *members in ways:
        modules |= code.modules(roots).keys() - {f"kernels/{name}" for name, kind in OF_MEMBERS.items() if kind not in members}
    code.remember()
    return [module for module in sorted(signatures.table()) if f"kernels/{module}" in modules]


def compile_missing(recipes, say, processes=None):
    """Compile what some recipes need and is not kept yet. What fails is left to the jobs.

    Parameters
    ----------
    recipes : iterable of Recipe
    say : callable
        Takes a sentence.
    processes : int, optional
    """
    from ..kernels import ahead, keep

    modules = needed(recipes)
    missing = ahead.missing(modules)
    if not missing:
        return
    started = time.monotonic()
    say(f"Compiling {len(missing)} of {len(modules)} modules of kernels that this run needs, once: they are kept in {keep.folder()}.")
    command = [sys.executable, "-m", "jwcal.warm_up", "--modules", *missing] + ["--processes", str(processes)] * bool(processes)
    with tempfile.TemporaryFile("w+") as wrong:
        done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=wrong, text=True)
        told = started
        for line in done.stdout:
            if time.monotonic() - told > EVERY:
                told = time.monotonic()
                say(f"  kernels: {line.strip()}")
        status = done.wait()
        wrong.seek(0)
        problem = wrong.read().strip()
    left = f" The jobs compile the others: {problem[-300:]}" if problem or status else ""
    say(f"Compiled in {time.monotonic() - started:.0f} s.{left}")
