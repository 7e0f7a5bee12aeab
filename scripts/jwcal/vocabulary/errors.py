"""The errors that users see: which file, what is wrong, what to do."""


class JwcalError(Exception):
    """A problem that a person can act on.

    Parameters
    ----------
    what : str
        What is wrong, as a sentence without its full stop.
    file : path, optional
        The file that it is wrong with.
    do : str, optional
        What to do about it, as a sentence without its full stop.
    """

    def __init__(self, what, file=None, do=None):
        self.what, self.file, self.do = what, file, do
        super().__init__(what, file, do)

    def __str__(self):
        text = f"{self.file}: {self.what}" if self.file else self.what
        return f"{text}. {self.do}." if self.do else f"{text}."


class InputError(JwcalError):
    """An exposure that can't be used: truncated, not JWST, a keyword missing, a wrong shape."""


class ReferenceError(JwcalError):  # noqa: A001 - the field's word; Python's own is about weak references
    """A reference file that is missing, unreadable, or does not fit the exposure."""


class ConfigError(JwcalError):
    """A key or value of the configuration that can't be right."""


class ProductError(JwcalError):
    """A product that could not be written."""


class Skip(Exception):
    """Raised by a step that does not apply to the exposure; its text says why.

    Parameters
    ----------
    why : str
    used : collection of str
        Types of the references from which it has put down what is known of the exposure's pixels, which itself it did not touch.
    """

    def __init__(self, why, used=()):
        self.used = tuple(used)
        super().__init__(why)
