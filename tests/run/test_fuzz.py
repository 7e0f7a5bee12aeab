"""Files and configurations that nobody would write: only our own errors come out, each with a sentence."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jwcal import associations
from jwcal.associations import pool
from jwcal.files import fitsheaders
from jwcal.products import stored
from jwcal.program import index
from jwcal.settings import chains, config
from jwcal.settings.selector import select_for
from jwcal.settings.tables import table
from jwcal.vocabulary import limits
from jwcal.vocabulary.errors import JwcalError

CASES = settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
SCRIPTS = Path(stored.__file__).parents[1]

NUMBERS = st.one_of(st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from([10**40, -0.0]))
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["", "NRC_IMAGE", "../../etc/passwd", "N/A", "\x00", "é☆", "{x}", "*"]))
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
TREES = st.recursive(VALUES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)), max_leaves=6)


def only_ours(function, *arguments):
    """Call it; what it raises is one of our errors, which says something."""
    try:
        return function(*arguments)
    except JwcalError as error:
        assert len(str(error)) > 10
        return None


# --- files ---


@CASES
@given(data=st.data())
def test_headers_of_damaged_files(data, tiny, tmp_path_factory):
    """Bytes are changed, cut out or put in anywhere in a file."""
    content = bytearray(tiny.image.read_bytes()[: 2880 * 12])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"END     ", b"CONTINUE", b"NAXIS1  = -5", b"= 1e999 "]))
        )
        span = data.draw(st.sampled_from([len(new), 0, 80, 2880]))
        content[at : at + span] = new
    path = tmp_path_factory.getbasetemp() / "jw01234001001_02101_00009_nrcb1_uncal.fits"
    path.write_bytes(content)
    only_ours(fitsheaders.read_headers, path)
    only_ours(index.check, path)


@CASES
@given(st.dictionaries(st.sampled_from(["EXP_TYPE", "TSOVISIT", "NINTS", "VISITYPE", "INSTRUME", "DETECTOR", "SUBARRAY", "PUPIL"]), VALUES))
def test_headers_of_any_content(header):
    """What selects the pipelines, and their chains."""
    chosen = only_ours(select_for, header, "jw_uncal.fits")
    for pipeline in [] if chosen is None else (chosen.stage1, chosen.stage2):
        if pipeline and chains.is_built(pipeline, header):
            only_ours(chains.chain, pipeline, header)


@CASES
@given(st.sampled_from(limits.KNOWN), st.one_of(VALUES, st.sampled_from([np.float32(2), np.int64(3), np.nan, np.inf])))
def test_keywords_of_any_value(keyword, value):
    """What passes can be used as the number or the text that it stands for; what does not is told with its keyword."""
    wrong = limits.fault(keyword, value)
    if wrong is not None:
        assert wrong.startswith(f"{keyword} is ") and wrong.endswith(" was expected")
    elif keyword in limits.CHOICES:
        assert value in limits.CHOICES[keyword]
    elif keyword in (*limits.WORDS, *limits.DATES):
        assert isinstance(value, str)
    else:
        assert abs(float(value)) <= limits.MANY and (keyword not in limits.WHOLE or int(value) == value)


# --- configuration ---

KEYS = st.one_of(st.sampled_from(sorted(table("config"))), TEXTS)
STEPS = st.dictionaries(
    st.one_of(st.sampled_from(["jump", "ramp_fit", "refpix", "resample"]), TEXTS),
    st.one_of(VALUES, st.dictionaries(st.one_of(st.sampled_from(["skip", "rejection_threshold", "algorithm", "pixfrac"]), TEXTS), TREES)),
    max_size=2,
)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.one_of(STEPS, TREES),
        "exp_types": st.one_of(st.dictionaries(st.one_of(st.just("NRC_IMAGE"), TEXTS), st.one_of(STEPS, TREES), max_size=2), TREES),
        "references": st.one_of(st.dictionaries(st.sampled_from(["crds_path", "crds_context", "overrides"]), TREES, max_size=2), TREES),
        "links": st.one_of(st.lists(st.dictionaries(st.sampled_from(["observation", "is", "of", "program"]), TREES), max_size=2), TREES),
        "save": TREES,
        "data": TREES,
        "until": VALUES,
        "associations": TREES,
    },
)


@CASES
@given(st.one_of(LIKELY, st.dictionaries(KEYS, TREES, max_size=4)))
def test_configurations(given):
    only_ours(config.load, given)


# --- associations ---

MEMBERS = st.lists(st.one_of(TREES, st.fixed_dictionaries({}, optional={"expname": TREES, "exptype": TREES})), max_size=3)
PRODUCTS = st.lists(st.one_of(TREES, st.fixed_dictionaries({}, optional={"name": TREES, "members": st.one_of(MEMBERS, TREES)})), max_size=2)
ASSOCIATIONS = st.fixed_dictionaries(
    {}, optional={"asn_type": st.one_of(st.just("image2"), VALUES), "products": st.one_of(PRODUCTS, TREES)}
)


@CASES
@given(st.one_of(TREES, ASSOCIATIONS))
def test_association_files(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "fuzz_asn.json"
    path.write_text(json.dumps(document))
    for association in only_ours(associations.load, path) or ():
        for name in (association.product, *(member.expname for member in association.members)):
            assert "/" not in name and ".." not in Path(name).parts


@CASES
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_pools(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz_pool.csv"
    path.write_text("FILENAME|EXP_TYPE|ASN_CANDIDATE\n" + text, encoding="utf-8")
    only_ours(pool.read, path)


# --- what may not be there ---


@pytest.mark.parametrize("path", sorted(SCRIPTS.rglob("*.py")), ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_nothing_in_a_file_is_run(path):
    """No pickle, no eval, no YAML that makes objects: a file that somebody sent is only read."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name.split(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").split(".")[0]}
            assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "os.system", "yaml.unsafe_load", "yaml.full_load"}
            assert called != "yaml.load" or "loader" in ast.unparse(node).lower()
            assert not (called.endswith("load") and any(k.arg == "allow_pickle" for k in node.keywords))
