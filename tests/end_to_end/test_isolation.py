"""A profile that would be dangerous to use, in every place where an AWS SDK looks: it is never used."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.end_to_end.clone import Clone
from tests.end_to_end.processes import environments, until
from tests.end_to_end.server import Server

pytestmark = pytest.mark.end_to_end

ACCESS_KEY, SECRET_KEY = "AKIACANARY", "sing-sing-sing"


def test_the_users_aws_is_never_touched(clone: Clone, tmp_path: Path) -> None:
    with Server() as canary:
        marker = tmp_path / "credentials-were-asked-for"
        environ = write_profile(tmp_path, canary.url, marker)
        running = clone.start("run", "bills", "--entries", "300", "--json", environ=environ)
        seen: dict[int, Mapping[str, str]] = {}
        looks: Counter[int] = Counter()

        def ended() -> bool:
            found = environments(running.mark)
            seen.update(found)
            looks.update(found.keys())
            return running.process.poll() is not None

        assert until(ended, 60, 0.05)
        result = running.wait()
        assert result.code == 0, result.err
        assert (result.result["clean"], result.result["total"]) == (True, 300)
        assert (canary.connections, canary.asked) == (0, [])
        assert not marker.exists()

    del seen[running.process.pid]
    # A process that was just forked still shows the environment of its parent.
    started = [found for pid, found in seen.items() if looks[pid] >= 5]
    assert len(started) >= 7, "two workers, the two others and what they are forked from, MiniStack and the stand-ins"
    for found in started:
        values = " ".join(found.values())
        assert canary.url not in values
        assert ACCESS_KEY not in values
        assert SECRET_KEY not in values
        assert "AWS_PROFILE" not in found
        assert found["AWS_ACCESS_KEY_ID"] == "local" or found["AWS_ACCESS_KEY_ID"].startswith("ROLLCALL")
        assert found["AWS_CONFIG_FILE"] == "/dev/null"


def write_profile(home: Path, canary: str, marker: Path) -> dict[str, str]:
    """A home with a profile `production`, and an environment that points to it."""
    folder = home / ".aws"
    folder.mkdir()
    (folder / "config").write_text(
        f"[profile production]\nregion = us-east-1\nendpoint_url = {canary}\n"
        f"credential_process = /bin/sh -c 'touch {marker}'\n"
    )
    (folder / "credentials").write_text(
        f"[production]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    return {
        "HOME": str(home),
        "AWS_PROFILE": "production",
        "AWS_DEFAULT_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SECRET_KEY,
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_ENDPOINT_URL": canary,
        "AWS_ENDPOINT_URL_SQS": canary,
        "AWS_ENDPOINT_URL_DYNAMODB": canary,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{canary}/credentials",
        "HTTP_PROXY": canary,
        "http_proxy": canary,
        "HTTPS_PROXY": canary,
        "ALL_PROXY": canary,
        "NO_PROXY": "",
        "AWS_EC2_METADATA_DISABLED": "false",
    }
