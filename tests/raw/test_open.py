"""From the word after `--raw` to a store, or to one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.errors import ExitCode, RawRootError
from readyfs.layout import RawLayout
from readyfs.raw.open import open_raw


@pytest.mark.parametrize("raw", ["/data/raw", "/data/raw/", "/data/a:b", "/data//x://y"])
def test_a_path_is_a_directory_store(layout: RawLayout, raw: str) -> None:
    assert open_raw(raw, layout).label == str(Path(raw))


@pytest.mark.parametrize("scheme", ["s3", "S3", "s3a", "gs", "https"])
def test_object_storage_is_refused_with_the_remedy(layout: RawLayout, scheme: str) -> None:
    with pytest.raises(RawRootError) as caught:
        open_raw(f"{scheme}://bucket/prefix", layout)
    assert caught.value.message.startswith(f"raw store {scheme}://bucket/prefix is not a directory")
    assert "mount the bucket as a directory" in caught.value.remedy
    assert caught.value.exit_code is ExitCode.RAW


def test_a_refused_url_shows_no_secret_and_stays_one_line(layout: RawLayout) -> None:
    with pytest.raises(RawRootError) as caught:
        open_raw("s3://key:hush/h@sh@bucket/a\nb?token=hush#hush", layout)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "bucket/a\\nb" in str(caught.value)


def test_a_file_url_is_refused_with_its_own_remedy(layout: RawLayout) -> None:
    with pytest.raises(RawRootError, match="give the directory's path itself"):
        open_raw("file:///data/raw", layout)


def test_nothing_is_refused(layout: RawLayout) -> None:
    with pytest.raises(RawRootError, match="no raw root is given"):
        open_raw("", layout)


def test_opening_looks_at_no_disk(layout: RawLayout) -> None:
    with pytest.raises(RawRootError):
        open_raw("/nonexistent/raw", layout).check()
