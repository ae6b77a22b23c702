"""Names: what is one, what is none, and that printing one and reading it again gives the same."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint.errors import ConfigError, InvalidName
from pushpoint.names import (
    AlgorithmName,
    DataPath,
    Version,
    algorithm_name,
    check_file_name,
    check_name,
    data_path,
    decode_path,
    is_commit,
    reference,
    repository_url,
    stored_model_name,
    version,
    version_prefix,
)

COMMIT, SHA256 = "c" * 40, "d" * 64
TAIL = f"_{COMMIT}_{'d' * 16}"

names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,29}", fullmatch=True)
file_names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=60)
file_names = file_names.filter(lambda name: name not in {".", ".."} and name.isprintable())


@pytest.mark.parametrize("name", ["a", "A9_", "sentiment", "a" * 30, "con", "None"])
def test_a_letter_then_letters_digits_and_underscores_is_a_name(name: str) -> None:
    assert check_name("algorithm", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "1a",
        "_a",
        "a-b",
        "a.b",
        "a b",
        "a" * 31,
        "a\n",
        "\na",
        "a\0",
        "é",
        "\N{CYRILLIC SMALL LETTER A}b",
        "a/b",
        "..",
        "~root",
        "$HOME",
        "-rf",
        "a%2fb",
        "１",
        "a\N{ZERO WIDTH JOINER}",
        "a\N{RIGHT-TO-LEFT OVERRIDE}",
    ],
)
def test_anything_else_is_none(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name("algorithm", name)
    assert (caught.value.kind, caught.value.name) == ("algorithm", name)
    assert "use a letter" in str(caught.value)
    assert str(caught.value).isprintable(), "a hostile name must not reach the terminal as it is"


def test_a_long_wrong_name_is_shown_short() -> None:
    with pytest.raises(InvalidName) as caught:
        check_name("owner", "x" * 10_000)
    assert len(str(caught.value)) < 200


@given(names, names)
def test_an_algorithms_name_survives_being_printed(owner: str, name: str) -> None:
    found = AlgorithmName(owner, name)
    assert algorithm_name(str(found)) == found
    assert algorithm_name(f"algo://{found}/") == found
    assert algorithm_name(name, owner=owner) == found


@pytest.mark.parametrize(
    "text", ["", "/", "a", "a/", "a//b", "a/b/c", "algo://", "algo://algo://a/b", "http://a/b", "a/..", "../b", "a/b\n"]
)
def test_what_names_no_algorithm_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        algorithm_name(text)


@pytest.mark.parametrize(
    ("text", "owner", "selector"),
    [
        ("ann/iris", None, None),
        ("algo://ann/iris", None, None),
        ("ann/iris/", None, None),
        ("iris", "ann", None),
        ("ann/iris/0.1.0", None, "0.1.0"),
        ("ann/iris/1.*", None, "1.*"),
        (f"ann/iris/{COMMIT}", None, COMMIT),
    ],
)
def test_a_reference_may_say_which_version(text: str, owner: str | None, selector: str | None) -> None:
    found = reference(text, owner=owner)
    assert str(found.algorithm) == "ann/iris"
    assert found.selector == selector


@pytest.mark.parametrize(
    "text", ["", "iris", "ann/iris/1/2", "ann//iris", "ann/iris//", "ann/0.1.0", "//ann", "./iris"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    if text == "ann/iris//":
        assert reference(text).selector is None  # only slashes at the end
        return
    with pytest.raises(InvalidName):
        reference(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (COMMIT, True),
        ("0123456789abcdef" * 2 + "01234567", True),
        (COMMIT.upper(), False),
        ("c" * 39, False),
        ("c" * 41, False),
        (COMMIT + "\n", False),
        ("g" * 40, False),
    ],
)
def test_a_commit_is_forty_lower_case_digits(text: str, expected: bool) -> None:
    assert is_commit(text) is expected


@given(st.tuples(*[st.integers(0, 999_999_999)] * 3))
def test_a_version_survives_being_printed(parts: tuple[int, int, int]) -> None:
    assert version(str(Version(*parts))) == Version(*parts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "v1.2.3",
        "01.2.3",
        "1.2.3-rc1",
        "1.2.3\n",
        " 1.2.3",
        "1.-2.3",
        "1.٣.0",
        "1.2.1e3",
        "1.2.1000000000",
        "1..3",
        "1.2.*",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match=r"MAJOR\.MINOR\.REVISION"):
        version(text)


@pytest.mark.parametrize(
    ("part", "expected"), [("revision", "1.2.4"), ("patch", "1.2.4"), ("minor", "1.3.0"), ("major", "2.0.0")]
)
def test_a_version_grows_at_one_part_and_starts_anew_behind_it(part: str, expected: str) -> None:
    grown = version("1.2.3").bump(part)
    assert str(grown) == expected
    assert grown > version("1.2.3")


@pytest.mark.parametrize("part", ["", "Minor", "none", "huge"])
def test_a_version_grows_at_no_other_part(part: str) -> None:
    with pytest.raises(InvalidName, match="use revision, minor or major"):
        version("1.2.3").bump(part)


def test_versions_are_ordered_as_numbers_not_as_text() -> None:
    assert version("0.10.0") > version("0.9.0") > version("0.8.99")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("1", (1,)),
        ("1.*", (1,)),
        ("1.x", (1,)),
        ("1.2", (1, 2)),
        ("1.2.*", (1, 2)),
        ("1.2.x", (1, 2)),
        ("1.2.3", None),
        ("*", None),
        ("", None),
        ("1.", None),
        ("1.*.*", None),
        ("latest", None),
        ("1.2.*\n", None),
        ("١", None),
        ("1234567890", None),
    ],
)
def test_a_pattern_fixes_the_first_numbers(selector: str, expected: tuple[int, ...] | None) -> None:
    assert version_prefix(selector) == expected


# -- data ---------------------------------------------------------------------------------------------------


@given(names, names, file_names)
def test_a_data_path_survives_being_printed(owner: str, collection: str, file: str) -> None:
    for path in (DataPath(owner, collection, file), DataPath(owner, collection, ""), DataPath(owner, "", "")):
        assert data_path(str(path)) == path


@given(names, names, file_names)
def test_a_data_path_survives_the_way_through_a_url(owner: str, collection: str, file: str) -> None:
    path = f"{owner}/{collection}/{file}"
    assert decode_path(quote(path).encode()) == path
    assert decode_path(quote(path, safe="").encode()) == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", DataPath("", "", "")),
        ("data://", DataPath("", "", "")),
        ("data://.my", DataPath("ann", "", "")),
        (".my/models", DataPath("ann", "models", "")),
        ("data://.my/models/m.pkl", DataPath("ann", "models", "m.pkl")),
        ("bob/models/a b.pkl", DataPath("bob", "models", "a b.pkl")),
        ("/bob/models/", DataPath("bob", "models", "")),
        ("bob/models/...", DataPath("bob", "models", "...")),
        ("bob/models/naïve 模型.pkl", DataPath("bob", "models", "naïve 模型.pkl")),
    ],
)
def test_a_data_path_may_stop_early(text: str, expected: DataPath) -> None:
    assert data_path(text, me="ann") == expected


@pytest.mark.parametrize(
    "text",
    [
        "a/b/c/d",
        "a//c",
        "a/../c",
        "a/b/..",
        "a/b/.",
        "../../etc",
        "a/b-c/f",
        "data://data://a",
        ".other/b",
        "a/.my/f",
        "a/b/c\\d",
        "a/b/c\0d",
        "a/b/c\nd",
        "a/b/" + "x" * 256,
        "a/b/" + "é" * 128,
        "a/b/\N{RIGHT-TO-LEFT OVERRIDE}fdp",
        "a/b/\udcff",
        "s3://bucket/key",
        "a b/c",
    ],
)
def test_a_hostile_data_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        data_path(text, me="ann")
    assert str(caught.value).isprintable()


def test_nobody_is_my_when_nobody_asks() -> None:
    with pytest.raises(InvalidName):
        data_path("data://.my/models")


@given(st.text(max_size=300))
def test_a_file_name_is_a_name_or_is_refused_and_never_a_way_out(name: str) -> None:
    try:
        assert check_file_name(name) == name
    except InvalidName:
        return
    assert name not in {"", ".", ".."}
    assert name.isprintable()
    assert not set(name) & set("/\\\0")
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/v1/data/a/b/c%20d", "/v1/data/a/b/c d"),
        (b"/a+b", "/a+b"),
        (b"/a%2Bb", "/a+b"),
        (b"a%2Fb%2Fc+d", "a/b/c d"),
        (b"a%2fb%2Bc", "a/b+c"),
        (b"%252F", "%2F"),
        ("/a/é".encode(), "/a/é"),
        (b"/%E6%A8%A1", "/模"),
        (b"/%zz%", "/%zz%"),
        (b"", ""),
        (b"%00", "\0"),
    ],
)
def test_a_path_is_decoded_once(raw: bytes, expected: str) -> None:
    assert decode_path(raw) == expected


@pytest.mark.parametrize("raw", [b"%ff", b"/a/\xff", b"%ED%A0%80", b"%C3", b"%c0%af"])
def test_a_path_that_is_not_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidName, match="UTF-8"):
        decode_path(raw)


# -- models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("model.pkl", f"model{TAIL}.pkl"),
        ("out/deep/model.pkl", f"model{TAIL}.pkl"),
        ("model", f"model{TAIL}"),
        (".hidden", f".hidden{TAIL}"),
        ("a.b.c.tar.gz", f"a.b.c{TAIL}.tar.gz"),
        ("model-v1.2.safetensors", f"model-v1.2{TAIL}.safetensors"),
        ("2024.01.31", f"2024.01{TAIL}.31"),
        ("my model (2).pkl", f"my model (2){TAIL}.pkl"),
        ("模型.pkl", f"模型{TAIL}.pkl"),
        ("model.模型", f"model{TAIL}.模型"),
        ("a\\b.pkl", f"a_b{TAIL}.pkl"),
        ("a\nb\x1b[31m.pkl", f"a_b_[31m{TAIL}.pkl"),
        ("\udcffmodel.pkl", f"_model{TAIL}.pkl"),
    ],
)
def test_a_models_stored_name_says_where_it_came_from(model: str, expected: str) -> None:
    assert stored_model_name(model, COMMIT, SHA256) == expected


def test_a_model_that_no_commit_made_is_named_by_its_digest_alone() -> None:
    assert stored_model_name("out/model.tar.gz", "", SHA256) == f"model_{SHA256[:16]}.tar.gz"


@pytest.mark.parametrize("model", ["x" * 255, "x" * 251 + ".pkl", "模" * 84 + ".gz", "x." + "y" * 253, "." + "é" * 127])
def test_a_models_stored_name_is_cut_where_it_would_be_too_long(model: str) -> None:
    found = stored_model_name(model, COMMIT, SHA256)
    assert TAIL in found
    assert 250 <= len(found.encode()) <= 255
    assert found[:3] == model[:3]
    assert found.endswith((".pkl", ".gz", TAIL))


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=255))
def test_every_file_a_notebook_can_write_has_a_stored_name(model: str) -> None:
    found = stored_model_name(model, COMMIT, SHA256)
    assert check_file_name(found) == found
    assert TAIL in found


def test_other_bytes_or_another_commit_have_another_name() -> None:
    made = {stored_model_name("m.pkl", commit * 40, digest * 64) for commit in "ab" for digest in "01"}
    assert len(made) == 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://github.com/ann/code.git", "https://github.com/ann/code.git"),
        ("HTTPS://GitHub.COM:443/ann/Code/", "https://github.com/ann/Code"),
        ("http://git.example:3000/a/b/c.git", "http://git.example:3000/a/b/c.git"),
        ("https://[2606:4700:0::1111]/a/b", "https://[2606:4700::1111]/a/b"),
        ("https://8.8.8.8/a/b", "https://8.8.8.8/a/b"),
        ("https://host/~ann/c++", "https://host/~ann/c++"),
    ],
)
def test_the_address_of_a_repository_has_one_form(text: str, shown: str) -> None:
    assert str(repository_url(text)) == shown
    assert str(repository_url(shown)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "github.com/a/b", "git@github.com:a/b", "ssh://github.com/a/b", "file:///a/b", "https://github.com"),
        *("https://github.com/", "https:///a/b", "https://a/b?c", "https://a/b#c", "https://a/b c", "https://a\\b/c"),
        *("https://a/../b", "https://a/./b", "https://a/b//c", "https://a/b%2Fc", "https://-a/b", "https://a-/b"),
        *("https://a..b/c", "https://a./c", "https://127.1/c", "https://0x7f.1/c", "https://1/c", "https://[::1/c"),
        *(
            "https://a:0/b",
            "https://a:99999/b",
            "https://a:b/c",
            "https://\u24d0/b",
            "https://a/\u00fc",
            "--upload-pack=x",
        ),
        *(
            "https://user@a/b",
            "https://user:secret@a/b",
            "https://:secret@a/b",
            "https://a/" + "b" * 600,
            "ext::sh -c x",
        ),
    ],
)
def test_what_is_no_address_of_a_repository_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        repository_url(text)
    assert "secret" not in str(caught.value)


def test_two_addresses_of_one_repository() -> None:
    one = repository_url("https://github.com/Ann/Code.git")
    assert one.is_same(repository_url("https://GITHUB.com:443/ann/code/"))
    assert not one.is_same(repository_url("https://github.com/ann/code2"))
    assert not one.is_same(repository_url("https://github.com:8443/ann/code"))
