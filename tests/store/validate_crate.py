"""roc-validator on one crate, offline: `validate_crate.py CRATE SCRATCH PROFILE…` prints {profile: [fault, …]} as JSON.

Run with roc-validator on the path, in a process of its own. The two JSON-LD contexts lie in the validator's HTTP cache
before it starts: the terms that a pack uses, each with the IRI that https://w3id.org/ro/crate/1.2/context gives it. A
term that is not among them means nothing to the validator, as one that is not in the real context would.
"""

import json
import sys
from io import BytesIO
from pathlib import Path

import requests
from requests_cache import CachedSession
from rocrate_validator import models, services
from urllib3 import HTTPResponse

_SCHEMA = (
    "CreateAction", "CreativeWork", "Dataset", "PropertyValue", "SoftwareApplication", "about", "actionStatus",
    "contentSize", "datePublished", "description", "encodingFormat", "endTime", "hasPart", "instrument", "license",
    "mentions", "name", "object", "result", "startTime", "url", "value", "version",
)  # fmt: skip
_TERMS = {term: f"http://schema.org/{term}" for term in _SCHEMA} | {
    "File": "http://schema.org/MediaObject",
    "Profile": "http://www.w3.org/ns/dx/prof/Profile",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}
_CONTEXTS = {
    "https://w3id.org/ro/crate/1.2/context": _TERMS,
    "https://w3id.org/ro/terms/workflow-run/context": {
        "containerImage": "https://w3id.org/ro/terms/workflow-run#containerImage"
    },
}


def _fill(cache: Path) -> None:
    """Put the contexts into the HTTP cache, as if they had been fetched."""
    with CachedSession(cache_name=str(cache), backend="sqlite") as session:
        for url, terms in _CONTEXTS.items():
            raw = HTTPResponse(
                BytesIO(json.dumps({"@context": terms}).encode()), {"Content-Type": "application/ld+json"}, 200,
                preload_content=False, request_url=url,
            )  # fmt: skip
            request = requests.Request("GET", url).prepare()
            session.cache.save_response(requests.adapters.HTTPAdapter().build_response(request, raw))


def _faults(crate: str, profile: str, cache: Path) -> list[str]:
    """What the profile requires and the crate lacks."""
    settings = services.ValidationSettings(
        rocrate_uri=crate, profile_identifier=profile, requirement_severity=models.Severity.REQUIRED,
        abort_on_first=False, offline=True, cache_path=cache,
    )  # fmt: skip
    return [f"{issue.check.identifier}: {issue.message}" for issue in services.validate(settings).get_issues()]


if __name__ == "__main__":
    cache = Path(sys.argv[2]) / "cache"
    _fill(cache)
    print(json.dumps({profile: _faults(sys.argv[1], profile, cache) for profile in sys.argv[3:]}))
