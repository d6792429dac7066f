"""What a pack says of itself: RO-Crate 1.2 metadata of the Process Run Crate profile.

Process Run Crate 0.5 is built on RO-Crate 1.1 and requires that the metadata say so: they conform to, and name, both.
Source: https://w3id.org/ro/crate/1.2, https://w3id.org/ro/crate/1.1 and https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from store.jobs import Job

METADATA_NAME = "ro-crate-metadata.json"
"""The name that RO-Crate gives to its metadata."""
_CRATE = "https://w3id.org/ro/crate/1.2"
_CRATE_OF_PROFILE = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_SOFTWARE = "#workbench"


@dataclass(frozen=True)
class Action:
    """One job that made something in the pack. `used` and `made` are archive paths."""

    job: Job
    used: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    command: str = ""
    """The command line that does it again."""


@dataclass(frozen=True)
class Provenance:
    """Where a pack comes from. `created_at` is ISO 8601; `descriptions` says in a sentence what a file is."""

    name: str
    description: str
    created_at: str
    software_version: str
    actions: tuple[Action, ...]
    descriptions: Mapping[str, str]
    license: str | Mapping[str, str] = (
        "The maker of this pack has chosen no licence; the model's and the corpus' terms apply."
    )


def crate_metadata(provenance: Provenance, sizes_bytes: Mapping[str, int]) -> bytes:
    """The metadata document, as JSON, of a pack with those files (archive path to size)."""
    graph = [
        {
            "@id": METADATA_NAME,
            "@type": "CreativeWork",
            "conformsTo": [{"@id": _CRATE}, {"@id": _CRATE_OF_PROFILE}],
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "conformsTo": {"@id": _PROFILE},
            "name": provenance.name,
            "description": provenance.description,
            "datePublished": provenance.created_at,
            "license": provenance.license,
            "hasPart": [_reference(path) for path in sorted(sizes_bytes)],
            "mentions": [{"@id": _action_id(action)} for action in provenance.actions],
        },
        {"@id": _PROFILE, "@type": ["CreativeWork", "Profile"], "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": _SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "workbench",
            "version": provenance.software_version,
            "url": f"urn:x-workbench:{quote(provenance.software_version)}",
        },
        *(_file(path, size, provenance.descriptions.get(path)) for path, size in sorted(sizes_bytes.items())),
        *(entity for action in provenance.actions for entity in _action(action)),
    ]
    context = [f"{_CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
    document = {"@context": context, "@graph": graph}
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _reference(path: str) -> dict[str, str]:
    """A link to a file of the pack."""
    return {"@id": quote(path)}


def _action_id(action: Action) -> str:
    return f"#job-{action.job.id}"


def _file(path: str, size_bytes: int, description: str | None) -> dict[str, Any]:
    """The entity of one file."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    entity: dict[str, Any] = {"@id": quote(path), "@type": "File", "name": path, "encodingFormat": kind}
    entity["contentSize"] = str(size_bytes)
    return entity | ({"description": description} if description else {})


def _action(action: Action) -> Iterator[dict[str, Any]]:
    """The entity of one job, and one for each of its params."""
    job, identity = action.job, _action_id(action)
    params = [
        {
            "@id": f"{identity}-{quote(name)}",
            "@type": "PropertyValue",
            "name": name,
            "value": value if isinstance(value, str) else json.dumps(value),
        }
        for name, value in sorted(job.params.items())
    ]
    entity: dict[str, Any] = {
        "@id": identity,
        "@type": "CreateAction",
        "name": f"workbench {job.kind}",
        "instrument": {"@id": _SOFTWARE},
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    links = {
        "object": [_reference(path) for path in action.used] + [{"@id": param["@id"]} for param in params],
        "result": [_reference(path) for path in action.made],
    }
    entity |= {name: found[0] if len(found) == 1 else found for name, found in links.items() if found}
    known = {"startTime": job.started_at, "endTime": job.finished_at, "description": action.command}
    yield entity | {name: text for name, text in known.items() if text}
    yield from params
