"""A converted model is there whole or not at all."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.model.cache import build_once, cache_directory, is_sealed


def fill(directory: Path) -> None:
    (directory / "a").write_text("first")
    (directory / "b").write_text("second")


def refuse(_directory: Path) -> None:
    raise AssertionError("built again")


def test_given_a_sealed_directory_when_asked_again_then_it_is_not_built_again(tmp_path: Path) -> None:
    built = build_once(tmp_path / "model", fill)
    assert (built / "a").read_text() == "first"
    assert build_once(tmp_path / "model", refuse) == built


@pytest.mark.parametrize("damage", ["flip", "remove", "unseal"])
def test_given_a_damaged_directory_when_asked_then_it_is_built_again(tmp_path: Path, damage: str) -> None:
    built = build_once(tmp_path / "model", fill)
    if damage == "flip":
        (built / "a").write_text("firsu")
    else:
        (built / {"remove": "b", "unseal": "sealed.json"}[damage]).unlink()
    assert not is_sealed(built)
    build_once(tmp_path / "model", fill)
    assert is_sealed(built)
    assert (built / "a").read_text() == "first"


def test_given_a_build_that_fails_when_it_fails_then_nothing_is_left(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        fill(directory)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        build_once(tmp_path / "model", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["model.lock"]


def test_given_xdg_cache_home_when_asked_then_the_cache_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "workbench"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_directory() == Path.home() / ".cache" / "workbench"


def test_given_two_who_want_it_at_once_when_built_then_it_is_built_once(tmp_path: Path) -> None:
    builds: list[Path] = []

    def slow(directory: Path) -> None:
        builds.append(directory)
        time.sleep(0.2)
        fill(directory)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build_once(tmp_path / "model", slow), range(4)))
    assert len(builds) == 1
    assert all(is_sealed(directory) for directory in found)
