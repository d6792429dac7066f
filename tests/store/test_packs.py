"""A pack gives back every byte it was given, and a pack that was tampered with gives nothing."""

import hashlib
import json
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from store import packs
from store.crate import Action, Provenance
from store.errors import BadInput, WorkbenchError
from store.jobs import Job
from store.packs import unpack, verify_pack, write_pack

WEIGHTS = random.Random(0).randbytes(300_000)
FIGURES = b'{"fvu": 0.1}\n'
TRAIN = Job(
    id=3,
    kind="train",
    params={"layers": [1, 2], "objective": "topk"},
    state="succeeded",
    progress=1.0,
    note="",
    result={},
    error=None,
    pid=1,
    host="here",
    created_at="2026-01-01T00:00:00.000+00:00",
    started_at="2026-01-01T00:00:01.000+00:00",
    finished_at="2026-01-01T00:01:00.000+00:00",
    elapsed_s=59.0,
    cpu_s=100.0,
)
PROVENANCE = Provenance(
    name="Capitals",
    description="A circuit for two-hop capitals.",
    created_at="2026-01-01T00:02:00.000+00:00",
    software_version="0.1.0",
    actions=(Action(TRAIN, used=("corpus/text of 1.txt",), made=("weights/sae.safetensors",)),),
    descriptions={"figures.json": "the headline numbers"},
)


def _contents(tmp_path: Path) -> dict[str, Path | bytes]:
    (tmp_path / "sae.safetensors").write_bytes(WEIGHTS)
    return {
        "weights/sae.safetensors": tmp_path / "sae.safetensors",
        "figures.json": FIGURES,
        "corpus/text of 1.txt": "Où est Paris ?".encode(),
    }


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A sound pack of three files."""
    write_pack(tmp_path / "circuit.zip", _contents(tmp_path), PROVENANCE)
    return tmp_path / "circuit.zip"


def _remade(pack: Path, change: Callable[[dict[str, bytes]], object], *, manifest: bool = True) -> Path:
    """The pack with its entries changed, and the manifest made to fit unless told otherwise."""
    with zipfile.ZipFile(pack) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    if manifest:
        hashed = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
        hashed.pop("manifest-sha256.txt", None)
        entries["manifest-sha256.txt"] = "".join(f"{digest}  {name}\n" for name, digest in hashed.items()).encode()
    changed = pack.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return changed


def _refused(pack: Path, said: str) -> None:
    """Neither `verify_pack` nor `unpack` takes it; both say so in one line, and nothing new is on the disk."""
    before = sorted(pack.parent.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: verify_pack(pack),
        lambda: unpack(pack, pack.parent / "deep" / "target"),
    ]
    for attempt in attempts:
        with pytest.raises(BadInput, match=said) as raised:
            attempt()
        assert "\n" not in str(raised.value)
        assert str(raised.value).isprintable()
    assert sorted(pack.parent.rglob("*")) == before


def test_a_pack_gives_back_what_it_was_given(tmp_path: Path, pack: Path) -> None:
    manifest = unpack(pack, tmp_path / "deep" / "target")
    target = tmp_path / "deep" / "target"
    assert (target / "weights/sae.safetensors").read_bytes() == WEIGHTS
    assert (target / "figures.json").read_bytes() == FIGURES
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert found.keys() == manifest.keys() | {"manifest-sha256.txt"}
    assert {name: hashlib.sha256(found[name].read_bytes()).hexdigest() for name in manifest} == manifest
    assert verify_pack(pack) == manifest


def test_the_manifest_is_in_the_form_of_sha256sum(tmp_path: Path, pack: Path) -> None:
    unpack(pack, tmp_path / "target")
    lines = (tmp_path / "target" / "manifest-sha256.txt").read_text().splitlines()
    assert f"{hashlib.sha256(FIGURES).hexdigest()}  figures.json" in lines
    assert len(lines) == 4


def test_the_same_contents_make_the_same_bytes(tmp_path: Path, pack: Path) -> None:
    backwards = dict(reversed(_contents(tmp_path).items()))
    write_pack(tmp_path / "again.zip", backwards, PROVENANCE)
    assert (tmp_path / "again.zip").read_bytes() == pack.read_bytes()


def test_what_compresses_like_a_bomb_is_stored_and_comes_back(tmp_path: Path) -> None:
    zeros = json.dumps([0.0] * 600_000).encode()
    write_pack(tmp_path / "zeros.zip", {"zeros.json": zeros}, PROVENANCE)
    unpack(tmp_path / "zeros.zip", tmp_path / "target")
    assert (tmp_path / "target" / "zeros.json").read_bytes() == zeros


def test_a_new_pack_replaces_an_old_one_and_nothing_else(tmp_path: Path, pack: Path) -> None:
    write_pack(pack, {"other.txt": b"other"}, PROVENANCE)
    assert "other.txt" in verify_pack(pack)
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(BadInput, match="exists and is no pack"):
        write_pack(tmp_path / "thesis.txt", {"other.txt": b"other"}, PROVENANCE)
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_what_a_killed_process_left_of_a_pack_goes_when_it_is_made_again(tmp_path: Path) -> None:
    target, others = tmp_path / "half[1].zip", tmp_path / ".other.zip.writing-0a1b2c3d"
    left = tmp_path / f".{target.name}.writing-0a1b2c3d"
    for each in (left, others):
        each.write_bytes(b"PK")
    write_pack(target, _contents(tmp_path), PROVENANCE)
    assert not left.exists()
    assert others.exists()
    assert "figures.json" in verify_pack(target)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "manifest-sha256.txt", "ro-crate-metadata.json", "a//b", ""])
def test_a_pack_is_not_written_with_a_name_that_could_not_be_unpacked(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput):
        write_pack(tmp_path / "bad.zip", {name: b"x"}, PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path, pack: Path) -> None:
    (tmp_path / "target").mkdir()
    unpack(pack, tmp_path / "target")
    with pytest.raises(BadInput, match="target is not empty; choose a new directory"):
        unpack(pack, tmp_path / "target")
    with pytest.raises(BadInput, match="is not empty"):
        unpack(pack, pack)


def test_a_disk_without_room_is_said_before_the_start(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(WorkbenchError, match=r"needs \d+ bytes and 10 are free"):
        unpack(pack, tmp_path / "target")
    assert not (tmp_path / "target").exists()


UNSAFE_NAMES = [
    "../outside",
    "a/../../outside",
    "/absolute",
    "\\windows",
    "c:drive",
    "a/./b",
    "a//b",
    "directory/",
    "es\x1bcape",
    "new\nline",
    "rtl\u202eoverride",
    "n" * 300,
    "deep/" * 300 + "x",
]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_a_name_that_leaves_its_directory_or_misleads_is_refused(pack: Path, name: str) -> None:
    _refused(_remade(pack, lambda entries: entries.__setitem__(name, b"x")), "is no relative path of plain names")
    assert not (pack.parent.parent / "outside").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_special_file_is_refused(pack: Path, kind: int) -> None:
    with zipfile.ZipFile(pack, "a") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    _refused(pack, "'link' is a link or another special file")


@pytest.mark.parametrize("twin", ["figures.json", "FIGURES.json", "figures.jſon"])
def test_names_that_fall_together_on_some_file_system_are_refused(pack: Path, twin: str) -> None:
    with zipfile.ZipFile(pack, "a") as archive, pytest.warns(UserWarning) if twin == "figures.json" else nullcontext():
        archive.writestr(twin, b"other")
    _refused(pack, "is in the pack twice")


def test_a_file_that_is_also_a_directory_is_refused(pack: Path) -> None:
    _refused(_remade(pack, lambda entries: entries.__setitem__("figures.json/x", b"x")), "in what is also a file")


def test_one_bomb_is_refused(pack: Path) -> None:
    _refused(_remade(pack, lambda entries: entries.__setitem__("zeros", bytes(3 << 20))), "which no pack does")


def test_many_entries_over_the_same_bytes_are_refused(pack: Path) -> None:
    with zipfile.ZipFile(pack, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", random.Random(1).randbytes(1000) + bytes(90_000))
        info = archive.getinfo("first")
        for number in range(600):
            overlapping = zipfile.ZipInfo(f"copy-{number}")
            for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(overlapping, field, getattr(info, field))
            archive.filelist.append(overlapping)
            archive.NameToInfo[overlapping.filename] = overlapping
    _refused(pack, "which no pack does")


def test_more_files_than_any_pack_has_are_refused(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_ENTRIES", 4)
    _refused(pack, "holds 5 files, more than 4")


def test_a_missing_an_extra_and_a_changed_file_are_named(pack: Path) -> None:
    missing = _remade(pack, lambda entries: entries.pop("figures.json"), manifest=False)
    _refused(missing, "'figures.json' is missing from the pack")
    extra = _remade(pack, lambda entries: entries.__setitem__("run_me.py", b"x"), manifest=False)
    _refused(extra, "'run_me.py' is in the pack and not in its manifest")
    changed = _remade(pack, lambda entries: entries.__setitem__("figures.json", b"better"), manifest=False)
    _refused(changed, "the content of 'figures.json' is not what the manifest says")


def test_a_pack_without_a_readable_manifest_is_refused(pack: Path) -> None:
    _refused(_remade(pack, lambda entries: entries.pop("manifest-sha256.txt"), manifest=False), "has no manifest")
    for lines in (b"nonsense\n", b"\xff\xfe\n", f"{'0' * 64}  figures.json\n".encode() * 2):
        _refused(_remade(pack, _with_manifest(lines), manifest=False), "cannot be read")


def _with_manifest(lines: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({"manifest-sha256.txt": lines})


def test_an_unknown_compression_is_refused(pack: Path) -> None:
    with zipfile.ZipFile(pack, "a") as archive:
        archive.writestr("odd", b"x", zipfile.ZIP_LZMA)
    _refused(pack, "'odd' is encrypted or packed in an unknown way")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file"):
        verify_pack(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("not a zip")
    _refused(tmp_path / "text.zip", "cannot be read as a pack")


def test_any_damage_is_refused_or_leaves_every_byte_as_it_was(tmp_path: Path, pack: Path) -> None:
    write_pack(pack, {"figures.json": FIGURES, "text.txt": b"words " * 50}, PROVENANCE)
    sound, manifest = pack.read_bytes(), verify_pack(pack)
    chance = random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        pack.write_bytes(damaged[: chance.choice([len(sound), len(sound), chance.randrange(len(sound))])])
        try:
            assert verify_pack(pack) == manifest
        except BadInput as error:
            refused += 1
            assert str(error).isprintable()
    assert refused >= 300


def test_the_metadata_is_a_process_run_crate(pack: Path, tmp_path: Path) -> None:
    unpack(pack, tmp_path / "target")
    document = json.loads((tmp_path / "target" / "ro-crate-metadata.json").read_text())
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    assert document["@context"][0] == "https://w3id.org/ro/crate/1.2/context"
    assert entities["ro-crate-metadata.json"]["conformsTo"] == [
        {"@id": "https://w3id.org/ro/crate/1.2"}, {"@id": "https://w3id.org/ro/crate/1.1"}
    ]  # fmt: skip
    root = entities["./"]
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    assert root["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    referred = [*root["hasPart"], *root["mentions"]]
    action = entities["#job-3"]
    assert action["@type"] == "CreateAction"
    assert entities[action["instrument"]["@id"]]["version"] == "0.1.0"
    referred += [*action["object"], action["result"]]
    assert all(reference["@id"] in entities for reference in referred)
    assert entities["#job-3-layers"]["value"] == "[1, 2]"
    assert entities["corpus/text%20of%201.txt"]["contentSize"] == "15"
    assert entities["figures.json"]["description"] == "the headline numbers"
