"""Every error says what is wrong and what to do, keeps its facts, and becomes one exit code and one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pushpoint import errors
from pushpoint.cli import exit_code
from pushpoint.runtime.messages import Failure
from pushpoint.web.errors import bug, envelope, status_of

FAILURE = Failure(error_type="ValueError", message="no", stacktrace="", duration=0.1)

# an error, its exit code, its status, and what its sentence must hold: the facts, and the advice
EXAMPLES: list[tuple[errors.Error, int, int, list[str]]] = [
    (errors.Error("anything"), 1, 500, ["anything"]),
    (errors.ConfigError("correct it"), 2, 400, ["correct it"]),
    (
        errors.UnknownSetting("notbook", layer="flag", nearest="notebook"),
        2,
        400,
        ["`notbook` in flag", "did you mean `notebook`?"],
    ),
    (errors.UnknownSetting("x", layer="flag", nearest=None), 2, 400, ["`pushpoint config` lists them all"]),
    (errors.MissingSetting("algorithm", how="pass --algorithm"), 2, 400, ["`algorithm`", "pass --algorithm"]),
    (errors.InvalidName("owner", "a\x1bb", rule="use letters"), 2, 400, [r"'a\x1bb'", "owner", "use letters"]),
    (errors.InvalidRequest("`name` is missing"), 2, 400, ["`name`"]),
    (errors.TrainingError("mend it"), 3, 422, ["mend it"]),
    (errors.NotebookMissing("train.ipynb"), 3, 422, ["train.ipynb", "set `notebook`"]),
    (errors.NotebookUnreadable("a.ipynb", "no cells"), 3, 422, ["a.ipynb", "no cells", "open it in Jupyter"]),
    (
        errors.RequirementsFailed("r.txt", "\nno such\n"),
        3,
        422,
        ["r.txt", ":\nno such\n", "deploy again"],
    ),
    (
        errors.CellFailed(3, "KeyError", "'x'", notebook="a.ipynb", traceback="Traceback"),
        3,
        422,
        ["cell 3 of a.ipynb", "KeyError: 'x'", "mend the cell and commit"],
    ),
    (
        errors.CellTimedOut(3, 90.0, notebook="a.ipynb", setting="cell-timeout"),
        3,
        422,
        ["cell 3 of a.ipynb", "90 s", "raise `cell-timeout`"],
    ),
    (errors.KernelDied(3, "killed", notebook="a.ipynb"), 3, 422, ["cell 3 of a.ipynb", "killed"]),
    (errors.ModelMissing("model.pkl", "is a folder"), 3, 422, ["model.pkl is a folder"]),
    (errors.IntegrityError("bytes differ"), 4, 422, ["bytes differ"]),
    (
        errors.DigestMismatch("model.pkl", expected="aa", actual="bb"),
        4,
        422,
        ["model.pkl was changed", "expected aa", "found bb", "restore the file or deploy again"],
    ),
    (errors.Unauthenticated("authorization required"), 5, 401, ["authorization"]),
    (errors.Refused("ask ann"), 5, 403, ["ask ann"]),
    (errors.BuildFailed("b-1", "\nno module\n"), 6, 422, ["build b-1", ":\nno module\n", "deploy again"]),
    (errors.RolloutFailed("it said no", failure=FAILURE), 7, 502, ["not made live: it said no"]),
    (errors.PreviewFailed("it said no", failure=FAILURE), 7, 502, ["the preview failed: it said no"]),
    (errors.Conflict("it is so"), 8, 409, ["it is so"]),
    (errors.AlreadyExists("taken"), 8, 409, ["taken"]),
    (errors.IllegalTransition("live", "failed"), 8, 409, ["live cannot become failed", "decide again"]),
    (errors.InUse("data://a/b", ["r 1", "r 2"]), 8, 409, ["data://a/b", "r 1, r 2", "delete those first"]),
    (errors.PushRejected("fetch and push again"), 8, 409, ["fetch and push again"]),
    (errors.Superseded("newer"), 9, 409, ["newer"]),
    (errors.NotFound("no such"), 10, 404, ["no such"]),
    (errors.CallFailed("ann/iris", "InputError", "no number"), 1, 502, ["ann/iris", "no number", "correct the input"]),
    (errors.Unavailable("later", retry_after=2.4), 11, 503, ["later"]),
    (errors.Overloaded("too many"), 11, 429, ["too many"]),
]
examples = pytest.mark.parametrize(
    ("error", "code", "status", "parts"), EXAMPLES, ids=[type(example[0]).__name__ for example in EXAMPLES]
)


def all_errors(kind: type[errors.Error] = errors.Error) -> Iterator[type[errors.Error]]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


def test_every_error_has_an_example_here() -> None:
    assert {type(example[0]) for example in EXAMPLES} == set(all_errors())


@examples
def test_an_errors_sentence_holds_its_facts_and_its_advice(
    error: errors.Error, code: int, status: int, parts: list[str]
) -> None:
    for part in parts:
        assert part in str(error)
    assert not str(error).endswith(("\n", " "))


@examples
def test_an_error_becomes_one_exit_code_and_one_status(
    error: errors.Error, code: int, status: int, parts: list[str]
) -> None:
    assert exit_code(error) == code
    assert status_of(error)[0] == status


@examples
def test_an_error_becomes_an_answer_that_names_it(
    error: errors.Error, code: int, status: int, parts: list[str]
) -> None:
    found, headers, body = envelope(error)
    said = json.loads(body)["error"]
    assert found == status
    assert said["error_type"] == type(error).__name__
    assert said["message"] == str(error)
    assert len(said["id"]) == 36
    assert said["code"] == status_of(error)[1]
    assert headers["content-type"] == "application/json"
    assert ("www-authenticate" in headers) == (status == 401)
    assert said.get("reason") == ("it said no" if isinstance(error, errors.RolloutFailed) else None)


def test_facts_are_attributes() -> None:
    for error, *_ in EXAMPLES:
        facts = {name: value for name, value in vars(error).items() if value}
        for name, value in facts.items():
            if name not in {"layer", "traceback", "failure", "retry_after", "log", "seconds", "referrers"}:
                assert str(value) in str(error) or repr(value) in str(error), (type(error), name)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, None), (0.0, "1"), (0.2, "1"), (2.4, "2"), (2.6, "3"), (120.0, "120")]
)
def test_how_long_to_wait_is_said_in_whole_seconds(seconds: float | None, expected: str | None) -> None:
    assert envelope(errors.Unavailable("later", retry_after=seconds))[1].get("retry-after") == expected


def test_a_subclass_we_do_not_know_yet_is_treated_as_the_class_above_it() -> None:
    made = type("Newer", (errors.NotFound,), {})
    try:
        assert exit_code(made("x")) == 10
        assert status_of(made("x"))[0] == 404
    finally:
        del made  # so that it is no subclass for other tests
        import gc

        gc.collect()


def test_a_bug_tells_nothing_of_the_inside() -> None:
    status, _, body = bug(RuntimeError("the password is hunter2"))
    assert status == 500
    assert b"hunter2" not in body
    assert b"RuntimeError" not in body
    assert json.loads(body)["error"]["id"] in json.loads(body)["error"]["message"]
