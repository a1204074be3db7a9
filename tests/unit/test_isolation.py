"""Nothing of the user's AWS reaches what a local run starts."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local_cloud.isolation import isolate, isolated

DUMMIES = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
}


@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_CA_BUNDLE",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_RETRY_MODE", "AWS_USE_FIPS_ENDPOINT", "BOTO_CONFIG",
        "ROLLCALL_QUEUE_URL", "ROLLCALL_TARGET", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY",
        "all_proxy", "no_proxy", "aws_profile", "PYTHONDONTWRITEBYTECODE",
    ],
)  # fmt: skip
def test_what_is_dangerous_is_left_out(name: str) -> None:
    assert isolated({name: "canary"}) == DUMMIES


def test_what_the_user_has_in_their_place_is_replaced() -> None:
    assert isolated(dict.fromkeys(DUMMIES, "canary")) == DUMMIES


def test_all_else_is_kept() -> None:
    others = {"PATH": "/bin", "HOME": "/home/me", "LANG": "C.UTF-8", "MY_AWS_THING": "1"}
    assert isolated(others) == DUMMIES | others


@given(st.dictionaries(st.sampled_from(["AWS_PROFILE", "Aws_Profile", "HTTP_proxy", "PATH", "X"]), st.text()))
def test_an_isolated_environment_stays_as_it_is(environ: dict[str, str]) -> None:
    once = isolated(environ)
    assert isolated(once) == once
    changed = dict(environ)
    isolate(changed)
    assert changed == once
