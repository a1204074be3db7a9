"""A folder of kept data has one local cloud at a time."""

from pathlib import Path

import pytest

from tools.local_cloud.cloud import _only_user
from tools.local_cloud.ministack import MiniStackError


def test_a_second_cloud_on_a_kept_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with _only_user(tmp_path), pytest.raises(MiniStackError, match=r"another run keeps its data in .*; wait"):
        _only_user(tmp_path).__enter__()


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with _only_user(tmp_path):
            pass
