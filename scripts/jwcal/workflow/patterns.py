"""Regular expressions for sets of names."""

import re
from itertools import groupby
from os.path import commonprefix


def apart(words, others=()):
    """A regular expression that matches these words and none of some others.

    Only what tells them apart stands in it, so that it is as short for thousands of words as for one; what else it matches does not
    matter, but for "/".

    Parameters
    ----------
    words, others : iterables of str
        Words are not empty, and none is among both.

    Returns
    -------
    str
    """
    return _branch(sorted(set(words)), set(others)) if others else "[^/]+"


def _branch(words, others):
    """Sorted words that begin with the same letter, if there are others that do so too."""
    start = commonprefix([words[0], words[-1]])
    others = {other[len(start) :] for other in others if other.startswith(start)}
    if not others:
        return f"{re.escape(start)}[^/]*"
    found = []
    for letter, alike in groupby((word[len(start) :] for word in words), key=lambda word: word[:1]):
        near = {other for other in others if other.startswith(letter)}
        found.append("" if not letter else _branch(list(alike), near) if near else f"{re.escape(letter)}[^/]*")
    return f"{re.escape(start)}(?:{'|'.join(found)})"
