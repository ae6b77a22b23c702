"""The inputs: ours, the original's, and what must not be sent where."""

from __future__ import annotations

import base64
import json

import pytest

from pushpoint.action.inputs import ORIGINAL, OWN, SECRETS, disguises, read
from pushpoint.config import SETTINGS, resolve
from pushpoint.errors import ConfigError, Refused

URL = "https://api.models.example"
OLD = {
    "algorithmia_api": URL,
    "algorithmia_api_key": "simKEY",
    "algorithmia_username": "ann",
    "algorithmia_email": "ann@example.com",
    "algorithmia_algoname": "sentiment",
    "algorithmia_uploadpath": "data://$ALGORITHMIA_USERNAME/$ALGORITHMIA_ALGONAME",
    "model_path": "model.pkl",
    "notebook_path": "train.ipynb",
    "git_host": "",
    "algorithmia_password": "",
    "github_username": "",
    "github_pat": "",
}


def test_the_original_s_twelve_inputs_mean_what_they_meant() -> None:
    assert set(OLD) == set(ORIGINAL)
    found = read(OLD | {"github_username": "ann-gh", "github_pat": "ghp"}, {})
    config = resolve(file={}, environment={}, flags=found.settings)
    assert config.algorithm == "ann/sentiment"
    assert config.collection == "data://ann/sentiment"
    assert (config.model_path, config.notebook, config.commit_email) == ("model.pkl", "train.ipynb", "ann@example.com")
    assert found.variables == {
        "PUSHPOINT_URL": URL,
        "PUSHPOINT_API_KEY": "simKEY",
        "PUSHPOINT_GIT_USER": "ann-gh",
        "PUSHPOINT_GIT_TOKEN": "ghp",
    }


@pytest.mark.parametrize("host", ["git.algorithmia.com", "api.models.example", "git.models.example", URL])
def test_a_password_selects_the_platform_and_goes_nowhere(host: str) -> None:
    found = read(OLD | {"algorithmia_password": "pa55", "git_host": host}, {})
    assert "repository" not in found.settings
    assert "pa55" not in str(found.variables) + str(found.settings)
    assert "pa55" in [secret.reveal() for secret in found.secrets]


@pytest.mark.parametrize("host", ["", "github.com", "https://github.com", "GitHub.com"])
def test_a_password_without_its_host_is_refused_because_the_original_sent_it_to_github(host: str) -> None:
    with pytest.raises(Refused, match=r"would have sent the password to github\.com; write `git_host: api\.models"):
        read(OLD | {"algorithmia_password": "pa55", "git_host": host}, {})


@pytest.mark.parametrize(
    "host", ["gitlab.com", "git.models.example.evil", "models.example.org", "git.algorithmia.com.x"]
)
def test_a_password_for_another_host_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="is for the platform at"):
        read(OLD | {"algorithmia_password": "pa55", "git_host": host}, {})


@pytest.mark.parametrize(
    "url", ["https://api.algorithmia.com", "https://algorithmia.com", "http://API.Algorithmia.COM:8080"]
)
def test_a_key_is_not_sent_to_whoever_has_the_old_platform_s_name(url: str) -> None:
    with pytest.raises(Refused, match="which is gone"):
        read(OLD | {"algorithmia_api": url}, {})
    with pytest.raises(Refused, match="which is gone"):
        read({"url": url, "api-key": "k"}, {})


def test_two_names_for_one_thing_may_agree_but_not_differ() -> None:
    assert read({"url": URL, "algorithmia_api": URL}, {}).variables == {"PUSHPOINT_URL": URL}
    with pytest.raises(ConfigError, match="leave `algorithmia_api` out"):
        read({"url": URL, "algorithmia_api": "https://other.example"}, {})


def test_a_token_without_a_host_is_for_github_and_with_one_for_that() -> None:
    old = OLD | {"github_username": "acme", "github_pat": "t"}
    assert read(old, {}).settings["repository"] == "https://github.com/acme/sentiment.git"
    assert (
        read(old | {"git_host": "git.acme.example"}, {}).settings["repository"].startswith("https://git.acme.example/")
    )
    assert (
        read(old | {"git_host": "http://127.0.0.1:80/"}, {}).settings["repository"]
        == "http://127.0.0.1:80/acme/sentiment.git"
    )


@pytest.mark.parametrize(("name", "value"), [("dry-run", "yes"), ("force", "1"), ("retrain", "on")])
def test_what_is_neither_true_nor_false_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="write true or false"):
        read({"url": URL, name: value}, {})


def test_a_dry_run_plans_and_what_is_not_given_stays_open() -> None:
    assert read({"dry-run": "TRUE", "mode": "deploy"}, {}).mode == "plan"
    plain = read(dict.fromkeys((*OWN, *ORIGINAL), ""), {})
    assert (plain.mode, plain.retrain, plain.force, plain.settings) == ("auto", None, False, {})


def test_the_job_s_environment_serves_where_an_input_is_missing() -> None:
    environment = {"PUSHPOINT_URL": URL, "PUSHPOINT_API_KEY": "from the job"}
    assert read({}, environment).variables == environment
    assert read({"api-key": "input"}, environment).variables["PUSHPOINT_API_KEY"] == "input"


def test_no_input_has_the_name_of_a_setting_and_secrets_are_inputs() -> None:
    settings = {setting.name for setting in SETTINGS}
    assert not settings & set(OWN)
    assert set(SECRETS) <= set(OWN) | set(ORIGINAL)


def test_a_secret_is_masked_in_every_dress() -> None:
    secret = 'p/w "d"+\nsecond line'
    found = disguises(secret, ["ann"])
    for form in (
        secret,
        "second line",
        base64.b64encode(f"ann:{secret}".encode()).decode(),
        base64.b64encode(f"x-access-token:{secret}".encode()).decode(),
        "p%2Fw%20%22d%22%2B%0Asecond%20line",
        json.dumps(secret)[1:-1],
    ):
        assert form in found
    assert "" not in found


def test_a_secret_shows_itself_in_no_repr() -> None:
    assert "simKEY" not in repr(read(OLD, {}))
