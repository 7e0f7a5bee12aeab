"""Stage 1 against the peer in every mode and with every option that changes what jump and ramp_fit do: small exposures, whole pipelines.

The calibrated ramp is compared too, flags of every group bit for bit. What differs on purpose is in docs/differences.md.
"""

import numpy as np
import pytest

from peer import needs_peer
from twins import RAMP, SAMPLE, Case, assert_same_products, few_differences, run_both

pytestmark = [pytest.mark.parity, needs_peer]

OFF = {"ipc": {"skip": True}}
NIRCAM = dict(exp_type="NRC_IMAGE", detector="NRCA1")
MEDIUM8 = dict(exp_type="NRC_IMAGE", detector="NRCA3", readpatt="MEDIUM8", zeroframe=True)
SOSS = dict(exp_type="NIS_SOSS", detector="NIS")


def jump(**parameters):
    return {**OFF, "jump": parameters}


def fit(**parameters):
    return {**OFF, "ramp_fit": parameters}


def flicker(**parameters):
    shown = dict.fromkeys(["save_mask", "save_background", "save_noise"], True)
    return {**OFF, "clean_flicker_noise": {"skip": False, **shown, **parameters}}


def snowballs(sci, chosen):
    """Saturated cores with halos in the raw samples."""
    y, x = np.indices(sci.shape[-2:])
    for integration, group, row, col, core, halo in [(0, 2, 34, 40, 4.5, 12), (0, 3, 12, 58, 3, 9), (1, 1, 45, 20, 5, 13)]:
        r = np.hypot(y - row, x - col)
        sci[integration, group:] += np.where(r < halo, 900 + 60_000 * np.exp(-np.maximum(r - core, 0)), 0)
    return sci


def shower(sci, chosen):
    """A faint patch that comes at once."""
    y, x = np.indices(sci.shape[-2:])
    sci[0, 7:] += 30 * (np.hypot((y - 30) / 1.4, x - 36) < 15)
    return sci


GUIDER = ("FGS_ID-STACK", "FGS_ID-IMAGE", "FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK", "FGS_FINEGUIDE")
FAINT = (-1.0, 2.0)
CASES = {
    "frame averaging and zero frame": Case(
        MEDIUM8 | dict(ngroups=5, nints=2),
        {
            "default": OFF,
            "one group and zero frame": fit(suppress_one_group=False),
            "likelihood": fit(algorithm="LIKELY", save_opt=True, suppress_one_group=False),
            "without readpatt": {**OFF, "saturation": {"use_readpatt": False}},
            "segments": fit(save_opt=True),
            "dark": {**OFF, "dark_current": {"dark_output": "x_avgdark.fits", "average_dark_current": 0.01}},
        },
        brightness=(-1.0, 5.5),
    ),
    "one group": Case(NIRCAM | dict(ngroups=1, nints=3), {"default": OFF, "suppress": fit(suppress_one_group=False)}),
    "two groups": Case(
        NIRCAM | dict(ngroups=2, nints=3),
        {"default": OFF, "one group": fit(suppress_one_group=False), "likelihood": fit(algorithm="LIKELY")},
    ),
    "three groups": Case(NIRCAM | dict(ngroups=3), {"default": OFF, "threshold": jump(three_group_rejection_threshold=3.5)}),
    "four groups": Case(
        NIRCAM | dict(ngroups=4),
        {
            "default": OFF,
            "threshold": jump(four_group_rejection_threshold=3.5),
            "both": jump(three_group_rejection_threshold=3.0, four_group_rejection_threshold=3.3, rejection_threshold=3.6),
        },
        brightness=(-1.0, 5.0),
    ),
    "twelve groups": Case(
        NIRCAM | dict(ngroups=12, nints=2),
        {
            "default": OFF,
            "threshold": jump(rejection_threshold=6.0),
            "no neighbours": jump(flag_4_neighbors=False),
            "neighbours": jump(min_jump_to_flag_neighbors=5.0, max_jump_to_flag_neighbors=200.0),
            "after jumps": jump(
                after_jump_flag_dn1=300.0, after_jump_flag_time1=1.3, after_jump_flag_dn2=2000.0, after_jump_flag_time2=2.1
            ),
            "one after the other": jump(min_diffs_single_pass=30),
            "minimum groups": jump(minimum_groups=4),
            "firstgroup, lastgroup": fit(firstgroup=2, lastgroup=8),
            "lastgroup": fit(lastgroup=5),
            "no ramp left": fit(firstgroup=6, lastgroup=6),
            "segments": fit(save_opt=True),
            "one group": fit(suppress_one_group=False),
            "likelihood": fit(algorithm="LIKELY", save_opt=True),
            "charge migration": {**OFF, "charge_migration": {"skip": False, "signal_threshold": 15000.0}},
            "persistence": {**OFF, "persistence": {"skip": False, "persistence_time": 2, "dn_threshold": 30000.0}},
        },
    ),
    "background": Case(
        NIRCAM | dict(ngroups=5, nints=2),
        {
            "flicker noise": flicker(),
            "flicker noise, model": flicker(background_method="model", single_mask=False),
        },
        brightness=(2.2, 2.5),
    ),
    "snowballs": Case(
        NIRCAM | dict(ngroups=6, nints=2),
        {
            "default": jump(expand_large_events=True),
            "circles": jump(expand_large_events=True, use_ellipses=False, expand_factor=1.7),
            "ellipses": jump(expand_large_events=True, use_ellipses=True),
            "no core in the next integration": jump(expand_large_events=True, mask_snowball_core_next_int=False),
            "a short time": jump(expand_large_events=True, snowball_time_masked_next_int=1),
            "no saturation": jump(expand_large_events=True, sat_required_snowball=False),
            "edges": jump(expand_large_events=True, edge_size=5, min_sat_radius_extend=1.5, sat_expand=4),
        },
        brightness=FAINT,
        change=snowballs,
    ),
    "group scale": Case(dict(exp_type="NRC_IMAGE", detector="NRCA2", ngroups=4, nframes=3, groupgap=1, frmdivsr=4), {"default": OFF}),
    "series": Case(
        SOSS | dict(ngroups=5, nints=8),
        {
            "default": OFF,
            "clipped across integrations": jump(minimum_sigclip_groups=5, only_use_ints=True),
            "clipped in all": jump(minimum_sigclip_groups=30, only_use_ints=False),
            "clipped at 3": jump(minimum_sigclip_groups=5, rejection_threshold=3.0),
        },
        pipeline="tso1",
    ),
    "second segment": Case(SOSS | dict(ngroups=5, nints=4, segment=(2, 2, 5, 8, 8)), {"default": OFF}, pipeline="tso1"),
    "traditional NIRSpec": Case(
        dict(exp_type="NRS_FIXEDSLIT", detector="NRS1", ngroups=5, nints=2), {"default": OFF}, references={"gain_factor": 1.9}
    ),
    "NIRSpec without reference pixels": Case(
        dict(exp_type="NRS_BRIGHTOBJ", detector="NRS2", ngroups=4, nints=3), {"default": OFF}, pipeline="tso1"
    ),
    "MIRI": Case(
        dict(exp_type="MIR_IMAGE", detector="MIRIMAGE", ngroups=14, nints=2),
        {
            "default": OFF,
            "showers": jump(find_showers=True),
            "large showers": jump(find_showers=True, extend_snr_threshold=1.0, extend_min_area=30, time_masked_after_shower=3.0),
            "segments": fit(save_opt=True),
            "likelihood": fit(algorithm="LIKELY"),
            "firstgroup, lastgroup": fit(firstgroup=3, lastgroup=9),
        },
        brightness=FAINT,
        change=shower,
    ),
    "MIRI dark": Case(dict(exp_type="MIR_DARKMRS", detector="MIRIFUSHORT", ngroups=6, nints=2), {"default": OFF}, pipeline="dark"),
    "NIRISS dark": Case(dict(exp_type="NIS_DARK", detector="NIS", ngroups=3, nints=2), {"default": OFF}, pipeline="dark"),
    "FGS": Case(dict(exp_type="FGS_IMAGE", detector="GUIDER1", ngroups=6), {"default": OFF}),
    **{function: Case(dict(exp_type=function, detector="GUIDER2"), {"default": {}}, pipeline="guider") for function in GUIDER},
}
SEGMENTS = "SLOPE SIGSLOPE YINT SIGYINT PEDESTAL WEIGHTS CRMAG VAR_POISSON VAR_RNOISE".split()
FLICKER = ("mask", "flicker_bkg", "flicker_noise")
RUNS = [(case, run) for case, made in CASES.items() for run in made.runs]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_both(tmp_path_factory.mktemp("stage1"), CASES)


@pytest.mark.full
@pytest.mark.parametrize(("case", "run"), RUNS, ids=[f"{case}: {run}" for case, run in RUNS])
def test_as_the_peer(done, case, run):
    ours, theirs = done[case, run]
    pipeline, steps = CASES[case].pipeline, CASES[case].runs[run]
    if pipeline in ("dark", "guider"):
        assert_same_products(ours, theirs, *{"dark": ("dark*", RAMP), "guider": ("cal", ("SCI", "ERR", "DQ"))}[pipeline])
        return
    assert_same_products(ours, theirs, "ramp", RAMP)
    options = steps.get("ramp_fit", {})
    likely = few_differences(ours) if options.get("algorithm") == "LIKELY" else None
    for suffix in ("rate", "rateints"):
        assert_same_products(ours, theirs, suffix, likely=likely)
    if options.get("save_opt") and likely is not None:
        assert_same_products(ours, theirs, "likely_chisq", ("SCI",), likely, floor=1.0)
    elif options.get("save_opt"):
        assert_same_products(ours, theirs, "fitopt", SEGMENTS)
    for suffix in {"dark": ["avgdark"], "flicker noise": FLICKER, "flicker noise, model": FLICKER}.get(run, ()):
        assert_same_products(ours, theirs, suffix, ("SCI",), floor=SAMPLE)
