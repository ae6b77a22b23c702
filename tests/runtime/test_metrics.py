from __future__ import annotations

import decimal
import fractions
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pushpoint
from pushpoint import runtime
from pushpoint.runtime.metrics import NAME, metric


class Scalar:
    """As numpy's and torch's are: no number, but it can become one."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class bool_(Scalar):
    """As numpy's is named."""


class Vector(Scalar):
    def __float__(self) -> float:
        raise TypeError("only length-1 arrays can be converted to Python scalars")


@pytest.mark.parametrize(
    "value", [0.5, 1, -3, Scalar(0.25), decimal.Decimal("0.1"), fractions.Fraction(1, 3), 1e300, 0]
)
def test_a_number_is_printed_outside_of_a_notebook(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    metric("f1 (macro)", value)
    assert capsys.readouterr().out == f"f1 (macro) = {float(value):.6g}\n"


@pytest.mark.parametrize("value", ["0.5", b"1", None, True, bool_(1.0), 1j, [1.0], Vector(1), 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"'accuracy' is a .*pass a float"):
        metric("accuracy", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), Scalar(float("nan"))])
def test_what_is_not_finite_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"'loss' is -?(nan|inf); find out why, or leave it out"):
        metric("loss", value)


@pytest.mark.parametrize(
    "name", ["a", "accuracy", "val/loss", "f1 (macro)", "p95", "précision", "a" * 64, "90%", "C++"]
)
def test_a_name_may_be(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "_a", "a" * 65, "a|b", "a\nb", "a`b", "<b>", "a\u202eb", "a\x1b[31m", "[a]"]
)
def test_a_name_may_not_be(name: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 64 letters"):
        metric(name, 1)


def test_a_name_is_a_text() -> None:
    with pytest.raises(TypeError, match="a metric's name is a text"):
        metric(0.5, "accuracy")  # type: ignore[arg-type]


def test_what_is_laid_down_has_all_that_we_export_but_the_client(tmp_path: Path) -> None:
    folder = runtime.lay_down(tmp_path)
    program = "import pushpoint; print(*[name for name in vars(pushpoint) if name[0] != '_'])"
    run = subprocess.run(
        [sys.executable, "-S", "-B", "-c", program], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert set(run.stdout.split()) == set(pushpoint.__all__) - {"Client"} | {"runtime"}, run.stderr
    assert pushpoint.metric is metric
