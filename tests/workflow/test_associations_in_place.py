"""The associations of a run are used where they lie: by hand, and by the peer."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

import jwcal
from jwcal.associations import places
from jwcal.associations.model import Association, Member
from jwcal.simulate.modes import MODES
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import jobs, plan
from peer import needs_peer, peer_pipeline
from small_exposures import in_order


def calibrate(folder, mode, **options):
    """A mode through its jobs, in this process; returns its associations of stage 3."""
    made = MODES[mode].make(folder, **options)
    planned = plan.make(yaml.safe_load(made.config.read_text()))
    for job in in_order(planned.jobs):
        for path in job.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        assert jobs.run(job.recipe, folder / "log.txt") == 0
    return made, sorted((folder / "results/associations").glob(f"*_{MODES[mode].last}_asn.json"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return calibrate(tmp_path_factory.mktemp("pair"), "nrc_image_wfs")


def test_members_are_named_from_where_the_file_lies(pair):
    _, (path,) = pair
    (product,) = json.loads(path.read_text())["products"]
    assert [member["expname"] for member in product["members"]] == [f"../stage2/jw01234001001_02101_0000{n}_nrcb1_cal.fits" for n in (1, 2)]
    assert all((path.parent / member["expname"]).is_file() for member in product["members"])


def test_a_pipeline_by_hand_takes_it_where_it_lies(pair, tmp_path):
    made, (path,) = pair
    combined = jwcal.run_pipeline("wfs-image3", path, made.steps, crds_path=str(made.crds), out=tmp_path)
    wanted = next(path.parent.parent.glob("stage3/*_wfscmb*.fits"))
    assert np.array_equal(combined.sci, fits.getdata(wanted, "SCI"), equal_nan=True)


def test_a_copy_beside_its_members(pair, tmp_path):
    made, (path,) = pair
    for file in (path, *path.parent.parent.glob("stage2/*_cal.fits")):
        shutil.copy(file, tmp_path)
    assert jwcal.run_pipeline("wfs-image3", tmp_path / path.name, crds_path=str(made.crds)).sci.shape == (64, 64)


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_the_peer_takes_it_where_it_lies(tmp_path):
    made, (path,) = calibrate(tmp_path / "run", "nrc_image", noise=False, cosmic_rays=0.0)
    out = tmp_path / "peer"
    out.mkdir()
    peer_pipeline("image3", path, out, made.crds, steps=MODES["nrc_image"].steps)
    (theirs,) = out.glob("*_i2d.fits")
    ours, theirs = fits.getdata(path.parent.parent / "stage3" / theirs.name, "SCI"), fits.getdata(theirs, "SCI")
    assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))  # of the same members; pixels differ as the two align them
    assert np.nansum(ours) == pytest.approx(np.nansum(theirs), rel=1e-3)
    assert abs(np.nanmedian(ours - theirs)) < 1e-3 * np.nanmedian(theirs)


@pytest.mark.parametrize(
    ("written", "found"),
    [("a_cal.fits", ("a_cal.fits", "")), ("../stage2/a_cal.fits", ("a_cal.fits", "../stage2")), ("./a_cal.fits", ("a_cal.fits", ""))],
)
def test_names_and_places(written, found):
    assert places.parted(written, "asn.json") == found


@pytest.mark.parametrize("written", ["/data/a_cal.fits", "~/a_cal.fits", "C:\\a_cal.fits", "a\0.fits", ".."])
def test_what_means_another_file_elsewhere(written):
    with pytest.raises(InputError, match="relative path"):
        places.parted(written, "asn.json")


def test_where_a_member_is(tmp_path):
    (tmp_path / "stage2").mkdir()
    (tmp_path / "asn").mkdir()
    member = Member("a_cal.fits", "science", place="../stage2")
    one = Association("r", "image3", "image3", "o001", "given", "01234", "m31", [member], given=tmp_path / "asn/m31_asn.json")
    assert places.of(one, member) is None
    for folder in ("asn", "stage2"):  # where it says comes first
        (tmp_path / folder / "a_cal.fits").touch()
        assert places.of(one, member).resolve() == tmp_path / folder / "a_cal.fits"
    assert places.of(one, member) == tmp_path / "stage2/a_cal.fits"
    (tmp_path / "far/asn").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "far/asn")
    (tmp_path / "far/stage2").mkdir()
    one.given = tmp_path / "linked/m31_asn.json"
    (tmp_path / "stage2/a_cal.fits").rename(tmp_path / "stage2/b_cal.fits")
    (tmp_path / "far/stage2/a_cal.fits").touch()  # behind a link .. is another folder
    assert places.of(one, member).resolve() == tmp_path / "far/stage2/a_cal.fits"
    files = {"a": {"cal": tmp_path / "stage2/a_cal.fits"}}
    assert places.seen_from(tmp_path / "asn", "a_cal.fits", files) == "../stage2/a_cal.fits"
    assert places.seen_from(tmp_path / "asn", "b_cal.fits", files) == "b_cal.fits"
