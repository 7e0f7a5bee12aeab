"""Pools that are written by hand for tests: a cell "@!next(obsnum)" counts observations, "@!fmt_cand([...])" writes candidates."""

import ast

START = {"expnum": 0, "obsnum": 0, "acid": 999}
PREFIX = "@!"


def expand(rows):
    """Rows with the values of their macros, row by row and from left to right, in which order their counters count.

    Parameters
    ----------
    rows : iterable of list of str

    Yields
    ------
    list of str

    Raises
    ------
    ValueError
        A macro that does not exist.
    """
    counters = dict(START)
    for row in rows:
        yield [str(_value(_parse(cell), counters)) if cell.startswith(PREFIX) else cell for cell in row]


def _parse(cell):
    try:
        return ast.parse(cell.removeprefix(PREFIX).strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{cell!r} is no macro") from None


def _value(node, counters):
    """The value of an expression: constants, sums, lists, counters, and the functions of `_call`."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(element, counters) for element in node.elts]
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            left, right = _value(node.left, counters), _value(node.right, counters)
            return left + right if isinstance(node.op, ast.Add) else left - right
        case ast.Attribute(value=ast.Name(id=name), attr="value") if name in counters:
            return counters[name]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="set"), args=[argument]) if name in counters:
            counters[name] = _value(argument, counters)
            return counters[name]
        case ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=name)]) if name in counters:
            counters[name] += 1
            return counters[name]
        case ast.Call(func=ast.Name(id="fmt_fname"), args=[argument]):
            return f"jw_{_value(argument, counters):05d}_uncal.fits"
        case ast.Call(func=ast.Name(id="fmt_cand"), args=[argument]):
            return str([(_candidate(name, kind), kind) for name, kind in _value(argument, counters)])
    raise ValueError(f"{ast.unparse(node)!r} is no macro")


def _candidate(number, kind):
    """The id of a candidate by its number."""
    if not isinstance(number, int):
        return number
    if kind == "observation" and number < 1000:
        return f"o{number:03d}"
    return f"c{number:04d}" if 1000 <= number < 3000 else f"r{number:04d}"
