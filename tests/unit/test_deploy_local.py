"""What `make deploy-local` does with the CDK's command line, and what it finds wrong."""

import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from select import select

import pytest

from tools.deploy_local import cdk as cdk_module
from tools.deploy_local.cdk import APP, Cdk, CdkError
from tools.deploy_local.scratch import scratch
from tools.deploy_local.shown import Seen, Shown, wrong
from tools.local_cloud.ministack import CHECKOUT
from tools.loopback import Keys

ENDPOINT = "http://127.0.0.1:1234"
STAND_INS = "http://127.0.0.1:5/token"
KEYS = Keys("ROLLCALL1", "secret")
SHOWN = Shown(deployed=True, run_state="complete", total=60, succeeded=60, completions=1, resources_left=0, seconds=1.0)
SEEN = Seen(entries=60, calls=63, injected=3, invocations={"fan_out": 1, "worker": 6}, announced=1)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: what is in it runs in place of the CDK."""
    cdk = tmp_path / "cdk"
    monkeypatch.setattr(cdk_module, "CDK", cdk)
    return cdk


def script(cdk: Path, text: str) -> None:
    cdk.write_text(f"#!/bin/sh\n{text}\n")
    cdk.chmod(0o755)


# --- The command line ---


def test_it_is_asked_for_nothing_that_leaves_this_machine(installed: Path, tmp_path: Path) -> None:
    script(installed, f'echo "$PWD $*" >> {tmp_path}/calls')
    with Cdk(tmp_path, ENDPOINT, KEYS, STAND_INS) as cdk:
        for command in (cdk.bootstrap(), cdk.synth(), cdk.deploy(["a", "b"]), cdk.destroy(["a"])):
            command.wait()
    bootstrap, synth, deploy, destroy = (tmp_path / "calls").read_text().splitlines()
    quiet = "--no-notices --no-version-reporting --ci"
    out = f"{tmp_path}/cdk.out"
    assert bootstrap == f"{tmp_path} bootstrap aws://000000000000/eu-west-1 {quiet}"
    assert synth == f"{CHECKOUT} synth --app={APP} --output={out} --quiet {quiet}"
    never = "--exclusively --require-approval=never --concurrency=4"
    assert deploy == f"{tmp_path} deploy --app={out} {never} a b {quiet}"
    assert destroy == f"{tmp_path} destroy --app={out} --exclusively --force a {quiet}"


def test_nothing_of_the_users_aws_reaches_it(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "canary")
    script(installed, f"env > {tmp_path}/environ")
    with Cdk(tmp_path, ENDPOINT, KEYS, STAND_INS) as cdk:
        cdk.bootstrap().wait()
    environ = dict(line.partition("=")[::2] for line in (tmp_path / "environ").read_text().splitlines())
    assert "canary" not in environ.values()
    assert environ["AWS_ENDPOINT_URL"] == ENDPOINT
    assert (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]) == ("ROLLCALL1", "secret")
    assert environ["CDK_DISABLE_CLI_TELEMETRY"] == "true"
    assert environ["CDK_HOME"].startswith(str(tmp_path))


def test_its_last_words_are_told_when_it_fails(installed: Path, tmp_path: Path) -> None:
    script(installed, "echo out; echo trouble >&2; exit 3")
    with Cdk(tmp_path, ENDPOINT, KEYS, STAND_INS) as cdk, pytest.raises(CdkError) as error:
        cdk.deploy(["a"]).wait()
    assert str(error.value) == "cdk deploy ended with 3: out\ntrouble"


def test_it_does_not_outlive_who_began_it_nor_does_what_it_started(installed: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script(installed, f"exec 3> {pipe}; echo begun >&3; sleep 60 & wait")
    with ExitStack() as opened:
        with suppress(KeyboardInterrupt), Cdk(tmp_path, ENDPOINT, KEYS, STAND_INS) as cdk:
            cdk.bootstrap()
            heard = opened.enter_context(pipe.open("rb", buffering=0))
            assert heard.readline() == b"begun\n"
            raise KeyboardInterrupt
        # It ends with the last of them that holds it.
        assert select([heard], [], [], 10)[0]
        assert heard.read() == b""


def test_without_it_one_line_says_what_to_do(installed: Path, tmp_path: Path) -> None:
    assert not installed.exists()
    with pytest.raises(CdkError, match="run make cdk"):
        Cdk(tmp_path, ENDPOINT, KEYS, STAND_INS)


# --- The folder ---


def test_the_scratch_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    with suppress(KeyboardInterrupt), scratch("rollcall-test-") as folder:
        (folder / "a/b/c").mkdir(parents=True)
        (folder / "a/b/file").touch()
        (folder / "a/link").symlink_to(tmp_path / "kept")
        (folder / "a/dangling").symlink_to(tmp_path / "nowhere")
        raise KeyboardInterrupt
    assert not folder.exists()
    assert (tmp_path / "kept/file").exists()


# --- What is wrong ---


def test_nothing_is_wrong_with_a_run_that_was_called_once_told_once_and_taken_away() -> None:
    assert [*wrong(SHOWN, SEEN)] == []


@pytest.mark.parametrize(
    ("shown", "seen", "says"),
    [
        (replace(SHOWN, run_state="refused"), SEEN, "the run is refused"),
        (replace(SHOWN, succeeded=59), SEEN, "of 60 entries 60 were counted, and 59 succeeded"),
        (SHOWN, replace(SEEN, entries=61), "of 61 entries 60 were counted, and 60 succeeded"),
        (SHOWN, replace(SEEN, calls=64), "there were 64 calls for 60 entries, of which 3 failed on purpose"),
        (replace(SHOWN, completions=2), SEEN, "the end was told 2 times"),
        (replace(SHOWN, completions=0), SEEN, "the end was told 0 times"),
        (SHOWN, replace(SEEN, announced=0), "the function behind the stream announced 0 runs"),
        (SHOWN, replace(SEEN, invocations={"fan_out": 1, "worker": 5}), "the worker function was invoked 5 times"),
        (SHOWN, replace(SEEN, invocations={"worker": 6}), "the fan-out function was invoked None times"),
        (replace(SHOWN, resources_left=2), SEEN, "2 resources are left"),
        (replace(SHOWN, resources_left=None), SEEN, "None resources are left"),
    ],
)
def test_what_is_wrong_is_told(shown: Shown, seen: Seen, says: str) -> None:
    (line,) = wrong(shown, seen)
    assert line.startswith(says)
