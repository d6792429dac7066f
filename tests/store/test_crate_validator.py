"""The metadata of a pack before roc-validator, which `make install` puts where only a process of its own sees it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from store.crate import METADATA_NAME
from store.packs import write_pack
from tests.store.test_packs import FIGURES, PROVENANCE

VALIDATOR = Path(sys.prefix) / "crate-validator"
PROFILES = ("ro-crate-1.2", "ro-crate-1.1", "process-run-crate-0.5")

pytestmark = pytest.mark.skipif(not VALIDATOR.is_dir(), reason="roc-validator is not there: `make install` brings it")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound pack of three files."""
    place = tmp_path_factory.mktemp("crate")
    (place / "sae.safetensors").write_bytes(bytes(100))
    contents: dict[str, Path | bytes] = {
        "weights/sae.safetensors": place / "sae.safetensors", "figures.json": FIGURES, "corpus/text of 1.txt": b"words"
    }  # fmt: skip
    write_pack(place / "pack.zip", contents, PROVENANCE)
    return place / "pack.zip"


def faults(crate: Path, scratch: Path) -> dict[str, list[str]]:
    """What each profile requires and the crate lacks."""
    script = Path(__file__).with_name("validate_crate.py")
    done = subprocess.run(
        [sys.executable, script, crate, scratch, *PROFILES], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(VALIDATOR), "HOME": str(scratch), "XDG_CACHE_HOME": str(scratch)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_pack_has_all_that_ro_crate_and_process_run_crate_require(pack: Path, tmp_path: Path) -> None:
    assert faults(pack, tmp_path) == {profile: [] for profile in PROFILES}


def test_given_a_crate_that_names_no_licence_and_no_tool_when_validated_then_both_are_missed(
    pack: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(pack) as archive, zipfile.ZipFile(tmp_path / "poor.zip", "w") as poor:
        for name in archive.namelist():
            content = archive.read(name)
            if name == METADATA_NAME:
                document = json.loads(content)
                for entity in document["@graph"]:
                    entity.pop("license", None)
                    entity.pop("instrument", None)
                content = json.dumps(document).encode()
            poor.writestr(name, content)
    found = faults(tmp_path / "poor.zip", tmp_path)
    assert any("license" in fault for fault in found["ro-crate-1.2"])
    assert any("instrument" in fault for fault in found["process-run-crate-0.5"])
