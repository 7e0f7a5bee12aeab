"""Regular expressions for sets of names."""

import re

from hypothesis import given
from hypothesis import strategies as st

from jwcal.workflow.patterns import apart

words = st.lists(st.text("ab.(", min_size=1, max_size=5), min_size=1, max_size=12)


@given(words, words)
def test_it_matches_the_words_and_none_of_the_others(known, others):
    others = set(others) - set(known)
    pattern = re.compile(apart(known, others))
    assert all(pattern.fullmatch(word) for word in known)
    assert not any(pattern.fullmatch(word) for word in others)


@given(words, words)
def test_it_can_stand_in_a_longer_expression(known, others):
    pattern = apart(known, set(others) - set(known))
    assert all(re.fullmatch(rf"x(?P<exposure>{pattern})_rate", f"x{word}_rate")["exposure"] == word for word in known)


def test_only_what_tells_them_apart_stands_there():
    names = [f"jw01234{number:06}_02101_00001_nrca1" for number in range(5000)]
    series, images = names[1000:1100], names[:1000] + names[1100:]
    assert apart(names) == "[^/]+" and not re.fullmatch(apart(names), "stage1/jw")
    assert apart(names, ["jw01235000001_02101_00001_nis"]) == "jw0123400[^/]*"
    assert apart(series, images) == "jw012340010[^/]*"
    assert len(apart(images, series)) < 200
    assert apart(["jw1"], ["jw1_mask"]) == "jw1(?:)"
