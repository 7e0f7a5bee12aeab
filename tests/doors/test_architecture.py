"""docs/architecture.md names what exists: files, modules, functions, and the rooms of the picture in their order."""

import re
from functools import cache

import pytest
from test_rooms import DOORS, PACKAGE, ROOMS, ROOT

TEXT = (ROOT / "docs/architecture.md").read_text()
PICTURE = re.search(r"```\n(vocabulary .*?)```", TEXT, re.S).group(1)
QUOTED = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S))))
PATHS = [text for text in QUOTED if re.fullmatch(r"[\w./]+/[\w.]+", text)]
DOTTED = [text for text in QUOTED if re.fullmatch(r"(\w+\.)+\w+", text) and not text.endswith((".py", ".yaml", ".md"))]
OURS = {"exposure", "members", "refs", "shell", "ramp", "jump"}  # what a step is given: attributes of these are looked for in the code


@cache
def code():
    return "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("text", PATHS)
def test_files(text):
    places = [ROOT / text, PACKAGE / text, PACKAGE / f"{text}.py", *PACKAGE.glob(f"home/{text}")]
    assert any(path.exists() for path in places) or text == "jwcal/home", text  # which only a wheel has


@pytest.mark.parametrize("text", DOTTED)
def test_names(text):
    """A module, a name in one, or an attribute of what a step is given."""
    parts = text.removeprefix("jwcal.").split(".")
    if PACKAGE.joinpath(*parts).with_suffix(".py").is_file() or PACKAGE.joinpath(*parts).is_dir():
        return
    *module, name = parts
    files = [path for path in PACKAGE.rglob("*.py") if path.with_suffix("").parts[-len(module) :] == tuple(module)]
    defined = [path for path in files if re.search(rf"^\s*(def|class) {name}\b|^\s*{name}\b.*=", path.read_text(), re.M)]
    assert defined or (parts[0] in OURS and re.search(rf"\b(def {name}\b|self\.{name}\b|{name}:)", code())), text


def test_the_picture_has_all_rooms():
    """Each in the place that the order of imports gives it, and nothing that is not there."""
    shown = re.findall(r"^(?:\w+/?)(?=  )|(?<=  )(?:report|commands|associations|archive|jobs|warm_up)\b", PICTURE, re.M)
    rooms = [name.strip("/") for name in shown]
    order = [*ROOMS, *DOORS]
    assert [order.index(name) for name in rooms] == sorted(order.index(name) for name in rooms)
    assert set(order) - set(rooms) == {"version", "notebook", "__init__"}
