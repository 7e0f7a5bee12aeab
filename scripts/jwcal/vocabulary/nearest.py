"""The name that was probably meant."""

import difflib


def nearest(wrong, known):
    """The known name that is nearest to a wrong one, None where none is near.

    A name that the wrong one is a part of comes first: "rejection" means "rejection_threshold".
    """
    wrong, known = str(wrong), [str(name) for name in known]
    parts = [name for name in known if len(wrong) > 2 and wrong.lower() in name.lower()]
    return next(iter(difflib.get_close_matches(wrong, parts or known, 1, 0.0 if parts else 0.45)), None)


def suggestion(wrong, known):
    """The same as a sentence; all names where none is near."""
    near = nearest(wrong, known)
    return f"The nearest is {near}" if near else f"There are {', '.join(sorted(map(str, known)))}"
