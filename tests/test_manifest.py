"""`model_manifest.json`: what the original wrote, what we add, and what others keep there."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint import manifest as manifests
from pushpoint.digests import Digest, describe_bytes
from pushpoint.errors import ConfigError
from pushpoint.manifest import Manifest, Provenance, Source, other_keys, read, write

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def example() -> Manifest:
    return Manifest(
        algorithm="ann/iris",
        deploy_id="e" * 64,
        model=describe_bytes([b"model"]),
        format="pickle",
        uri="data://ann/iris/model.pkl",
        source=Source(
            repository="ann/ml", ref="refs/heads/main", commit="c" * 40, message="Train\n", committed=CREATED
        ),
        created=CREATED,
        inputs=Digest("sha256:" + "1" * 64),
        provenance=Provenance(builder="local", python="3.11.7"),
        notebook=replace(describe_bytes([b"{}"]), media_type="application/x-ipynb+json"),
        previous=Digest("sha256:" + "2" * 64),
        extra={"their": {"key": [1, 2.5, None, "é"]}},
    )


def written(**changes: Any) -> str:
    """The example's text with some keys changed; those that become `...` are gone."""
    found = json.loads(write(example())) | changes
    return json.dumps({key: value for key, value in found.items() if value is not ...})


# -- the original's keys ------------------------------------------------------------------------------------


def test_the_seven_keys_are_the_originals_with_its_types_and_its_time() -> None:
    found = json.loads(write(example()))
    assert {key: found[key] for key in found if key in ORIGINAL} == ORIGINAL
    assert list(found)[-len(found) + 1 :][:7] == list(ORIGINAL), "in the original's order, after other tools' keys"


ORIGINAL = {
    "model_filepath": "ann/iris/model.pkl",
    "model_md5_hash": "20f35e630daf44dbfa4c3f68f5399d8c",
    "model_origin_commit_SHA": "c" * 40,
    "model_origin_commit_msg": "Train\n",
    "model_origin_repo": "ann/ml",
    "model_origin_ref": "refs/heads/main",
    "model_uploaded_utc": "2026-01-02 03:04:05.678901",
}


def test_a_time_without_microseconds_still_has_six_digits() -> None:
    text = write(replace(example(), created=CREATED.replace(microsecond=0)))
    assert json.loads(text)["model_uploaded_utc"] == "2026-01-02 03:04:05.000000"
    datetime.strptime(json.loads(text)["model_uploaded_utc"], "%Y-%m-%d %H:%M:%S.%f")


def test_a_time_elsewhere_is_written_in_utc() -> None:
    elsewhere = CREATED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert write(replace(example(), created=elsewhere)) == write(example())


# -- round trips --------------------------------------------------------------------------------------------


def test_what_was_written_is_read_again() -> None:
    assert read(write(example())) == example()
    plain = replace(example(), notebook=None, previous=None, extra={})
    assert read(write(plain)) == plain


def test_the_same_manifest_is_the_same_text() -> None:
    assert write(example()) == write(example())
    assert write(example()).endswith("}\n")
    assert write(example()).isascii()


texts = st.text(max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, values, max_size=5), texts, texts, st.datetimes(datetime(1000, 1, 1)))
def test_any_manifest_survives(extra: dict[str, Any], message: str, ref: str, created: datetime) -> None:
    extra = {key: value for key, value in extra.items() if not key.startswith(("model_", "notebook_"))}
    made = example()
    assert made.source
    source = replace(made.source, message=message, ref=ref)
    made = replace(made, source=source, created=created.replace(tzinfo=UTC), extra=extra)
    assert read(write(made)) == made


@pytest.mark.parametrize("message", ["x" * 1_000_000, "模" * 350_000, "\udcff\x00\x1b[31m\u2028 </script>", "", '"\\'])
def test_a_message_of_any_size_and_spelling_survives(message: str) -> None:
    made = example()
    assert made.source
    made = replace(made, source=replace(made.source, message=message))
    assert read(write(made)) == made


def test_a_model_of_unknown_source_says_so_in_the_original_actions_own_types() -> None:
    made = replace(example(), source=None, inputs=None)
    assert read(write(made)) == made
    found = json.loads(write(made))
    origin = {key: value for key, value in found.items() if key.startswith(("model_origin", "model_inputs"))}
    assert origin == dict.fromkeys([key for key in ORIGINAL if key.startswith("model_origin")], "")


# -- other tools' keys --------------------------------------------------------------------------------------


def test_other_tools_keys_are_kept_in_their_order_and_never_win() -> None:
    theirs = {"z": 1, "a": {"deep": [True]}, "model_md5_hash": "theirs", "algorithm": "evil/other"}
    found = json.loads(write(replace(example(), extra=theirs)))
    assert list(found)[:2] == ["z", "a"]
    assert found["model_md5_hash"] == ORIGINAL["model_md5_hash"]
    assert found["algorithm"] == "ann/iris"


def test_all_that_we_write_is_known_as_ours() -> None:
    assert other_keys(write(replace(example(), extra={}))) == {}
    assert other_keys(write(example())) == example().extra


@pytest.mark.parametrize(
    "text",
    ['{"model_filepath": "./model.pkl"}', "{}", '{"their": 1}', '{"manifest_version": 1}', '{"manifest_version": "2"}'],
)
def test_a_placeholder_or_another_tools_manifest_is_none(text: str) -> None:
    assert read(text) is None


def test_a_manifest_of_the_original_action_is_none_and_all_its_keys_are_replaced() -> None:
    assert read(json.dumps(ORIGINAL)) is None
    assert other_keys(json.dumps(ORIGINAL)) == {}


# -- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "{",
        "[]",
        "null",
        '"text"',
        "3",
        "[" * 100_000,
        '{"a": 1}{"a": 1}',
        "\ufeff{}",
        '{"a": "\n"}',
        '{"a": 1, "a": 2}',
        '{"model_sha256_hash": "1", "model_sha256_hash": "2"}',
        '{"x": {"a": 1, "a": 1}}',
        '{"a": NaN}',
        '{"a": [Infinity]}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_text_that_is_no_manifest_is_an_error_that_says_what_to_do(text: str) -> None:
    for reading in (read, other_keys):
        with pytest.raises(ConfigError, match="correct or delete it"):
            reading(text)


REQUIRED = list(json.loads(write(replace(example(), notebook=None, previous=None, extra={}, inputs=None))))
REQUIRED.remove("manifest_version")


@pytest.mark.parametrize("key", [*REQUIRED, "notebook_size_bytes", "notebook_md5_hash"])
@pytest.mark.parametrize("value", [..., None, 7.5, [], True])
def test_a_key_that_is_gone_or_of_another_kind_is_damage(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"damaged at .*; deploy again to write it anew"):
        read(written(**{key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_inputs_sha256", None),
        ("model_inputs_sha256", ""),
        ("model_size_bytes", -1),
        ("model_size_bytes", "5"),
        ("model_sha256_hash", "A" * 64),
        ("model_sha256_hash", "a" * 63),
        ("model_sha256_hash", "sha256:" + "a" * 64),
        ("model_sha256_hash", "a" * 64 + "\n"),
        ("model_md5_hash", ""),
        ("notebook_sha256_hash", "../../etc/passwd"),
        ("model_inputs_sha256", "x"),
        ("previous_manifest_sha256", "x"),
        ("model_uploaded_utc", "2026-01-02T03:04:05Z"),
        ("model_uploaded_utc", "2026-13-02 03:04:05.000000"),
        ("model_origin_commit_utc", ""),
        ("model_provenance", {"builder": 3}),
        ("model_provenance", {}),
        ("model_provenance", "builder"),
    ],
)
def test_a_value_that_cannot_be_is_damage(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="deploy again"):
        read(written(**{key: value}))


def test_a_key_of_provenance_that_a_later_version_added_is_no_damage() -> None:
    found = read(written(model_provenance={"builder": "local", "python": "3.11.7", "later": {"x": 1}}))
    assert found is not None
    assert found.provenance == example().provenance


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_more_than_an_error(text: str) -> None:
    for reading in (read, other_keys):
        with contextlib.suppress(ConfigError):
            reading(text)


@given(st.sampled_from(REQUIRED), values)
def test_no_value_is_more_than_an_error(key: str, value: Any) -> None:
    try:
        found = read(written(**{key: value}))
    except ConfigError:
        return
    assert found is not None
    json.loads(write(found))


def test_the_worker_reads_what_we_write_and_refuses_what_we_refuse(tmp_path: Any) -> None:
    from pushpoint.runtime import verify

    file = tmp_path / manifests.FILE
    file.write_text(write(example()))
    assert verify.read_manifest(str(file)) == json.loads(write(example()))
    assert verify.VERSION == manifests.VERSION
    assert verify.MANIFEST == manifests.FILE
    for text in ('{"a": 1, "a": 2}', '{"a": NaN}', "[]"):
        file.write_text(text)
        with pytest.raises(verify.ModelRefused):
            verify.read_manifest(str(file))


def test_metrics_are_written_and_read_and_absent_where_there_are_none() -> None:
    text = manifests.write(replace(example(), metrics={"accuracy": 0.5, "n": 3.0}))
    found = manifests.read(text)
    assert found
    assert found.metrics == {"accuracy": 0.5, "n": 3.0}
    assert "model_metrics" not in found.extra
    without = manifests.write(example())
    assert "model_metrics" not in without
    old = manifests.read(without)
    assert old
    assert old.metrics == {}


@pytest.mark.parametrize("wrong", [[1], "x", 7, {"a": "1"}, {"a": True}, {"a": None}, {"a": {"b": 1}}, {"a": 10**400}])
def test_metrics_that_are_no_numbers_are_damage(wrong: object) -> None:
    changed = json.loads(manifests.write(example())) | {"model_metrics": wrong}
    with pytest.raises(ConfigError, match="is damaged"):
        manifests.read(json.dumps(changed))
