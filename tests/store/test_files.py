"""Files are whole or absent, and any change to one is noticed."""

import random
from pathlib import Path

import pytest
import xxhash

from store import files
from store.errors import Damaged
from store.files import FileStore, StoredFile, hold_ballast, is_disk_full, release_ballast
from tests.store.conftest import writes

CONTENT = random.Random(0).randbytes(3 << 20)


def _store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def _written(store: FileStore, content: bytes = CONTENT, name: str = "sae-L3.safetensors") -> StoredFile:
    return store.write("weights", name, writes(content))


def test_a_written_file_is_named_by_its_content_and_verifies(tmp_path: Path) -> None:
    stored = _written(_store(tmp_path))
    digest = xxhash.xxh3_128_hexdigest(CONTENT)
    assert stored == StoredFile(f"weights/sae-L3-{digest[:8]}.safetensors", len(CONTENT), digest)
    assert _store(tmp_path).verify(stored).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [Path(stored.path).name]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        _store(tmp_path).write("weights", "a.bin", half)
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_refused_by_name(tmp_path: Path, seed: int) -> None:
    stored = _written(_store(tmp_path))
    bit = random.Random(seed).randrange(8 * len(CONTENT))
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    (tmp_path / stored.path).write_bytes(damaged)
    with pytest.raises(Damaged, match=f"content of {stored.path}"):
        _store(tmp_path).verify(stored)


@pytest.mark.parametrize("kept", [0, 1, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_truncated_file_or_a_zeroed_tail_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    stored = _written(_store(tmp_path))
    for damaged in (CONTENT[:kept], CONTENT[:kept] + bytes(len(CONTENT) - kept)):
        (tmp_path / stored.path).write_bytes(damaged)
        with pytest.raises(Damaged, match=stored.path):
            _store(tmp_path).verify(stored)


def test_a_missing_file_is_refused_by_name_with_a_mend(tmp_path: Path) -> None:
    stored = _written(_store(tmp_path))
    (tmp_path / stored.path).unlink()
    with pytest.raises(Damaged, match=rf"{stored.path} cannot be read .*; restore it"):
        _store(tmp_path).verify(stored)


def test_the_same_content_twice_is_one_file(tmp_path: Path) -> None:
    store = _store(tmp_path)
    assert _written(store) == _written(store)
    assert len(list((tmp_path / "weights").iterdir())) == 1


def test_a_damaged_file_is_replaced_when_its_job_runs_again(tmp_path: Path) -> None:
    store = _store(tmp_path)
    stored = _written(store)
    (tmp_path / stored.path).write_bytes(b"damaged")
    assert _written(store) == stored
    assert store.verify(stored).read_bytes() == CONTENT


def test_contents_whose_short_hashes_collide_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colliding(path: Path) -> str:
        return "c0111de5" + xxhash.xxh3_128_hexdigest(path.read_bytes())[8:]

    monkeypatch.setattr(files, "content_hash", colliding)
    store = _store(tmp_path)
    first, second = _written(store, b"first"), _written(store, b"second")
    assert store.verify(first).read_bytes() == b"first"
    assert store.verify(second).read_bytes() == b"second"
    assert store.sweep({first.path}) == [second.path]


def test_sweeping_takes_leftovers_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    store = _store(tmp_path)
    known = store.write("weights", "known.bin", writes(b"known"))
    lost = store.write("graphs", "lost.json", writes(b"lost"))
    for name in ("weights/.writing-0011223344556677.bin", "weights/own.safetensors", "logs/run-0a1b2c3d.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert store.sweep({known.path}) == ["weights/.writing-0011223344556677.bin", lost.path]
    assert store.verify(known)
    assert (tmp_path / "weights/own.safetensors").exists()
    assert (tmp_path / "logs/run-0a1b2c3d.log").exists()


def test_ballast_takes_real_room_and_gives_it_back(tmp_path: Path) -> None:
    hold_ballast(tmp_path)
    [ballast] = tmp_path.iterdir()
    assert ballast.stat().st_blocks * 512 >= 1 << 20
    release_ballast(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_recognised_however_it_is_said() -> None:
    assert is_disk_full(OSError(28, "No space left on device"))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert is_disk_full(RuntimeError("database or disk is full"))
    assert not is_disk_full(OSError(2, "No such file or directory"))
