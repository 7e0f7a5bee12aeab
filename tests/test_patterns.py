"""Regular expressions for closed sets of names."""

import re

from hypothesis import given
from hypothesis import strategies as st

from jwcal.patterns import one_of

words = st.lists(st.text("ab.(", max_size=5), min_size=1, max_size=12)


@given(words, words)
def test_it_matches_just_the_words(known, others):
    pattern = re.compile(one_of(known))
    assert all(pattern.fullmatch(word) for word in known)
    assert not any(pattern.fullmatch(word) for word in set(others) - set(known))


@given(words)
def test_it_can_stand_in_a_longer_expression(known):
    assert all(re.fullmatch(rf"x(?P<exposure>{one_of(known)})_rate", f"x{word}_rate")["exposure"] == word for word in known)


def test_what_words_have_in_common_stands_there_once():
    assert one_of(["jw1_a", "jw1_b", "jw2_a"]) == "jw(?:1_(?:a|b)|2_a)"
    assert one_of(["jw1"]) == "jw1"
    names = [f"jw01234{number:06}_02101_00001_nrca1" for number in range(5000)]
    assert len(one_of(names)) < 40 * len(names) and all(map(re.compile(one_of(names)).fullmatch, names))
