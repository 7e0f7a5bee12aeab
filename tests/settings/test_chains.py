"""The chains: which steps, in which order, for whom; what they read and what they make. Pure: no file, no reference."""

import pytest

from jwcal.settings import chains
from jwcal.settings.chains import Save, Step, chain
from jwcal.settings.selector import PIPELINES
from jwcal.settings.step_modules import step_module
from jwcal.settings.tables import table

BUILT = [name for name in PIPELINES if chains.is_built(name)]
IMAGE = {"INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "EXP_TYPE": "NRC_IMAGE"}
MIRI = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_IMAGE"}
# steps that this version may lack; where it has them, they stand between their neighbours
LATER = {"picture_frame", "clean_flicker_noise", "emicorr", "persistence", "charge_migration", "bkg_subtract"}
NEAR_INFRARED = "group_scale dq_init saturation ipc superbias refpix linearity dark_current charge_migration jump picture_frame " \
    "clean_flicker_noise persistence ramp_fit gain_scale"  # fmt: skip
MID_INFRARED = "group_scale dq_init emicorr saturation ipc firstframe lastframe reset linearity rscd dark_current refpix " \
    "charge_migration jump picture_frame clean_flicker_noise persistence ramp_fit gain_scale"  # fmt: skip
ORDERS = {
    ("detector1", "NIRCAM"): NEAR_INFRARED,
    ("tso1", "NIRSPEC"): NEAR_INFRARED,
    ("detector1", "NIRISS"): NEAR_INFRARED,
    ("detector1", "FGS"): NEAR_INFRARED,
    ("detector1", "MIRI"): MID_INFRARED,
    ("tso1", "MIRI"): MID_INFRARED,
    ("dark", "NIRCAM"): NEAR_INFRARED.partition(" dark_current")[0],
    ("dark", "MIRI"): MID_INFRARED.partition(" dark_current")[0],
    ("guider", "FGS"): "dq_init guider_cds flat_field",
    ("image2", "NIRCAM"): "bkg_subtract assign_wcs flat_field photom resample",
    ("tso-image2", "NIRCAM"): "assign_wcs flat_field photom",
    ("wfs-image2", "NIRCAM"): "bkg_subtract assign_wcs flat_field photom",
}


@pytest.mark.parametrize(("pipeline", "instrument"), ORDERS)
def test_order_of_the_steps(pipeline, instrument):
    """As in operations (design of the mission's pipelines)."""
    if not chains.is_built(pipeline):
        pytest.skip(f"{pipeline} is not in this version")
    exp_type = {"NIRCAM": "NRC_IMAGE", "FGS": "FGS_ACQ1"}.get(instrument, "")
    steps = [step.name for step in chain(pipeline, {"INSTRUME": instrument, "EXP_TYPE": exp_type}).steps]
    assert steps == [step for step in ORDERS[pipeline, instrument].split() if step in steps or step not in LATER]


@pytest.mark.parametrize("pipeline", BUILT)
def test_all_steps_are_there(pipeline):
    """Every step and variant that the table names is a module with `apply`; saves name products that have a data model."""
    from jwcal.settings.tables import table

    known = table("products")

    row = table("pipelines")[pipeline]
    headers = [*[{}] * ("steps" in row), *(variant["when"] for variant in row.get("variants", ()) if "steps" in variant or "steps" in row)]
    for header in headers:
        first = {keyword: value[0] if isinstance(value, list) else value for keyword, value in header.items()}
        made = chain(pipeline, first)
        assert made.reads and made.steps
        for entry in made.entries:
            if isinstance(entry, Step):
                assert hasattr(step_module(entry.name), "apply"), entry.name
            else:
                assert all(entry.model or entry.format == "asdf" or suffix in known for suffix in entry.suffixes.values())
                assert set(entry.makers) <= {s.name for s in made.steps} | {"resample", "resample_spec"}  # not of all exposures


def test_every_pipeline_of_the_tables_is_known():
    assert set(table("pipelines")) <= set(PIPELINES)
    assert {"detector1", "tso1", "guider", "image2", "tso-image2", "wfs-image2"} <= set(BUILT)
    with pytest.raises(KeyError):
        chain("no-such-pipeline", {})


def test_a_pipeline_that_is_there_for_some_exposures():
    prism, image = {"EXP_TYPE": "MIR_LRS-FIXEDSLIT"}, {"EXP_TYPE": "NRS_IMAGE"}
    assert chains.is_built("spec2") and chains.is_built("spec2", prism) and not chains.is_built("spec2", image)
    assert chains.absence("spec2", image) == "spec2 is not available for NRS_IMAGE"
    assert chains.absence("no-such-pipeline", image) == "no-such-pipeline is not available"
    with pytest.raises(KeyError):
        chain("spec2", image)
    assert not chains.is_built("no-such-pipeline", prism) and chains.is_built("image2", image)


SPECTRA = "badpix_selfcal imprint_subtract bkg_subtract"


@pytest.mark.parametrize(
    ("pipeline", "exp_type", "steps"),
    [
        ("spec2", "MIR_LRS-FIXEDSLIT", f"assign_wcs {SPECTRA} srctype targ_centroid flat_field pathloss photom"),
        ("spec2", "MIR_LRS-SLITLESS", f"assign_wcs {SPECTRA} srctype targ_centroid flat_field photom"),
        ("spec2", "MIR_MRS", "assign_wcs badpix_selfcal bkg_subtract srctype straylight flat_field fringe photom"),
        ("tso-spec2", "MIR_LRS-FIXEDSLIT", "assign_wcs srctype targ_centroid flat_field pathloss photom"),
        ("tso-spec2", "MIR_LRS-SLITLESS", "assign_wcs srctype targ_centroid flat_field photom"),
    ],
)
def test_order_of_the_steps_of_spectra(pipeline, exp_type, steps):
    """As in operations, up to the calibrated spectrum."""
    made = [step.name for step in chain(pipeline, {"INSTRUME": "MIRI", "EXP_TYPE": exp_type}).steps]
    assert made[: made.index("photom") + 1] == steps.split()


@pytest.mark.parametrize(
    ("exp_type", "readout"),
    [
        ("FGS_ID-STACK", "identification"),
        ("FGS_ID-IMAGE", "identification"),
        ("FGS_FINEGUIDE", "fineguide"),
        ("FGS_ACQ1", None),
        ("FGS_TRACK", None),
    ],
)
def test_readout_of_guide_stars(exp_type, readout):
    """The table tells the step how the samples were taken; no parameter of the user's."""
    (step,) = [s for s in chain("guider", {"EXP_TYPE": exp_type}).steps if s.name == "guider_cds"]
    assert step.arguments == ({"readout": readout} if readout else {})
    assert chain("guider", {"EXP_TYPE": exp_type}).group_flags is False


@pytest.mark.parametrize(
    ("exp_type", "others", "reads"),
    [
        ("NRC_IMAGE", {}, ("rate",)),
        ("NRC_CORON", {"SUBARRAY": "SUB320A335R", "DETECTOR": "NRCALONG"}, ("rateints",)),
        ("NRC_CORON", {"SUBARRAY": "FULL", "PUPIL": "MASKRND", "DETECTOR": "NRCA2"}, ("rateints",)),
        ("NRC_CORON", {"SUBARRAY": "FULL", "PUPIL": "MASKRND", "DETECTOR": "NRCA4"}, ("rate",)),
        ("MIR_LYOT", {}, ("rateints",)),
        ("NIS_AMI", {}, ("rateints",)),
    ],
)
def test_what_image2_starts_from(exp_type, others, reads):
    assert chain("image2", {"EXP_TYPE": exp_type, **others}).reads == reads


@pytest.mark.parametrize(
    ("pipeline", "header", "start", "wanted", "skipped", "products"),
    [
        ("detector1", IMAGE, "uncal", (), (), ["rate", "rateints"]),
        ("detector1", IMAGE, "uncal", ("ramp",), (), ["ramp", "rate", "rateints"]),
        ("detector1", MIRI, "uncal", ("ramp",), ("jump",), ["ramp", "rate", "rateints"]),
        ("detector1", IMAGE, "uncal", (), ("ramp_fit",), []),
        ("detector1", IMAGE, "uncal", ("ramp",), ("ramp_fit",), ["ramp"]),
        ("detector1", IMAGE, "uncal", ("bsub",), (), ["rate", "rateints"]),
        ("guider", {"EXP_TYPE": "FGS_ACQ1"}, "uncal", (), (), ["cal"]),
        ("image2", IMAGE, "rate", (), (), ["cal", "i2d"]),
        ("image2", IMAGE, "rate", (), ("resample",), ["cal"]),
        ("image2", {"EXP_TYPE": "NRC_TACQ"}, "rate", (), (), ["cal"]),
        ("image2", {"EXP_TYPE": "MIR_LYOT"}, "rateints", (), (), ["calints"]),
        ("tso-image2", {"EXP_TYPE": "NRC_TSIMAGE"}, "rateints", (), (), ["calints"]),
        ("wfs-image2", IMAGE, "rate", (), (), ["cal"]),
        ("spec2", {"EXP_TYPE": "MIR_LRS-FIXEDSLIT"}, "rate", ("bsub",), (), ["bsub", "cal", "s2d", "x1d"]),
        ("tso-spec2", {"EXP_TYPE": "MIR_LRS-SLITLESS"}, "rateints", (), (), ["calints", "x1dints"]),
    ],
)
def test_products(pipeline, header, start, wanted, skipped, products):
    assert chain(pipeline, header).products(start, wanted, skipped) == products


def test_reference_types_of_steps():
    """In the order of the steps, each once; what one step needs is not optional because another could do without it."""
    required, optional = chains.reference_types(["dq_init", "superbias", "jump", "ramp_fit", "gain_scale"])
    assert required == ["mask", "superbias", "gain", "readnoise"]
    assert not set(required) & set(optional)
    assert chains.reference_types([]) == ([], [])


def test_entries_of_the_table(monkeypatch):
    """`when`, `cases`, `by`, `optional` and `model`, on a table made up for it."""
    rows = {
        "toy": {
            "reads": ["uncal"],
            "crds": "toypipeline",
            "defaults": {"jump": {"skip": True}},
            "variants": [{"when": {"EXP_TYPE": "B*"}, "reads": ["rate"]}],
            "steps": [
                "jump",
                {"step": "dq_init", "when": {"DETECTOR": ["X", "Y"]}},
                {"step": "ramp_fit", "cases": [{"when": {"N": 1}, "with": {"a": 1}}, {"when": {"N": [1, 2]}, "with": {"a": 2}}]},
                {"save": {"rate": "cal"}, "by": "ramp_fit", "model": "ToyModel"},
                {"save": "ramp", "optional": True},
            ],
        }
    }
    monkeypatch.setattr(chains, "table", lambda name: rows)
    for remembering in ("_asked_for", "_row", "_chain"):
        monkeypatch.setattr(chains, remembering, getattr(chains, remembering).__wrapped__)
    first = chain("toy", {"EXP_TYPE": "A", "DETECTOR": "x", "N": 1})
    assert first.reads == ("uncal",) and first.defaults == {"jump": {"skip": True}} and first.crds == "toypipeline"
    assert first.entries == (
        Step("jump"),
        Step("dq_init"),
        Step("ramp_fit", {"a": 1}),
        Save({"rate": "cal"}, model="ToyModel", by="ramp_fit"),
        Save({"ramp": "ramp"}, optional=True),
    )
    second = chain("toy", {"EXP_TYPE": "BC", "DETECTOR": "Z", "N": 2})
    assert second.reads == ("rate",) and [step.arguments for step in second.steps] == [{}, {"a": 2}]


def test_no_two_variants_are_for_the_same_exposures():
    """The first one that fits is taken: a second one would never be."""
    for row in table("pipelines").values():
        conditions = [str(variant["when"]) for variant in row.get("variants", ())]
        assert len(set(conditions)) == len(conditions)


def test_stripes_of_which_nothing_is_known_have_no_spectra():
    assert chains.is_built("tso-spec2", {"EXP_TYPE": "NRC_TSGRISM", "SUBARRAY": "SUB164STRIPE4_DHS", "PUPIL": "GDHS0"})
    for keywords in ({"SUBARRAY": "SUB164STRIPE4_DHS", "PUPIL": "GDHS60"}, {"SUBARRAY": "FULL", "PUPIL": "GDHS0"}):
        assert not chains.is_built("tso-spec2", {"EXP_TYPE": "NRC_TSGRISM", **keywords})
    assert chains.is_built("tso-spec2", {"EXP_TYPE": "NRC_TSGRISM", "SUBARRAY": "SUBGRISM64", "PUPIL": "GRISMR"})
