"""The metadata of a pack before roc-validator, where that is installed: `pip install roc-validator` (not among ours).

It fetches the two JSON-LD contexts from w3id.org, so that it needs the network, or its own warm cache.
"""

from pathlib import Path

import pytest

from store.packs import write_pack
from tests.store.test_packs import FIGURES, PROVENANCE

PROFILE = "ro-crate-1.2"


def test_a_pack_passes_the_validator_of_ro_crate(tmp_path: Path) -> None:
    services = pytest.importorskip("rocrate_validator.services", reason="roc-validator is not installed")
    models = pytest.importorskip("rocrate_validator.models")
    (tmp_path / "sae.safetensors").write_bytes(bytes(100))
    weights = tmp_path / "sae.safetensors"
    contents: dict[str, Path | bytes] = {
        "weights/sae.safetensors": weights, "figures.json": FIGURES, "corpus/text of 1.txt": b"words"
    }  # fmt: skip
    write_pack(tmp_path / "pack.zip", contents, PROVENANCE)
    settings = services.ValidationSettings(
        rocrate_uri=str(tmp_path / "pack.zip"), profile_identifier=PROFILE,
        requirement_severity=models.Severity.REQUIRED, abort_on_first=False,
    )  # fmt: skip
    try:
        found = services.validate(settings)
    except OSError as error:
        pytest.skip(f"the contexts of RO-Crate cannot be fetched here ({error})")
    assert [issue.message for issue in found.get_issues()] == []
