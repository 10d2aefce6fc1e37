"""Subject ids and the gallery's default place."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import UsageError
from verify.gallery.location import default_path
from verify.gallery.subject import check_idempotency_key, check_subject_id, shown
from verify.types import MAX_SUBJECT_ID_BYTES


@given(st.text(max_size=400))
def test_every_text_is_taken_in_nfc_or_refused_in_words(text):
    try:
        name = check_subject_id(text)
    except UsageError as error:
        assert len(str(error).encode()) < 600  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert name == unicodedata.normalize("NFC", text)
        assert check_subject_id(name) == name
        assert 0 < len(name.encode()) <= MAX_SUBJECT_ID_BYTES
        assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in name)


def test_the_limit_is_in_bytes_of_utf_8():
    assert check_subject_id("é" * 128)
    with pytest.raises(UsageError, match="256 bytes of UTF-8"):
        check_subject_id("é" * 129)


def test_joiners_within_emoji_and_persian_are_kept():
    for name in ("👩\u200d🚀", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "a b"):
        assert check_subject_id(name) == name


def test_keys_are_not_normalised_but_checked():
    assert check_idempotency_key("e\u0301") == "e\u0301"
    with pytest.raises(UsageError, match="idempotency key '' is empty"):
        check_idempotency_key("")


def test_shown_is_short_and_printable():
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 10_000)) < 50


def test_the_default_place_follows_the_platform_and_the_environment(monkeypatch):
    monkeypatch.setenv("VERIFY_GALLERY", "/somewhere/g.db")
    assert default_path() == Path("/somewhere/g.db")
    monkeypatch.delenv("VERIFY_GALLERY")
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_path() == Path("/home/ann/.local/share/verify/gallery.db")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_path() == Path("/data/verify/gallery.db")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_path() == Path("/home/ann/Library/Application Support/verify/gallery.db")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/appdata")
    assert default_path() == Path("/appdata/verify/gallery.db")


def test_the_command_line_takes_nothing_heavy_from_here():
    code = (
        "import verify.gallery.location, verify.gallery.subject, verify.cli.gallery, sys; "
        "print([m for m in ('numpy', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
