from __future__ import annotations

import pytest

from pushpoint.runtime.messages import ERROR_TYPES, error_type


@pytest.mark.parametrize("word", sorted(ERROR_TYPES))
def test_every_word_of_the_vocabulary_is_kept(word: str) -> None:
    assert error_type(word) == word


@pytest.mark.parametrize("word", ["", "inputerror", "InputError ", 7, None, [], {"InputError": 1}])
def test_any_other_word_is_an_algorithm_error(word: object) -> None:
    assert error_type(word) == "AlgorithmError"
