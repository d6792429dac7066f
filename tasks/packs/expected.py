"""What a pack claims: every number that a job printed, and how far it may move when it is computed again."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from store.errors import Damaged

if TYPE_CHECKING:
    from store.jobs import Job

_INDEX = re.compile(r"\[\d+\]")
_HEADLINES = {
    "baseline": ("behaviours.accuracy",),
    "capture": ("train_tokens", "validation_tokens", "documents"),
    "train": ("layers.fvu", "layers.l0"),
    "evaluate": ("joint.ce_recovered", "joint.kl_recovered", "layers.fvu"),
    "index": ("features", "tokens", "layers.median_density"),
    "trace": ("replacement_score", "completeness_score", "targets.value", "targets.probability", "kept_nodes",
              "kept_edges"),
    "prune": ("replacement_score", "completeness_score", "kept_nodes", "kept_edges"),
    "intervene": ("delta_logit_difference", "predicted_delta", "kl", "baseline.probability", "outcome.probability"),
    "reproduce": ("behaviours.accuracy", "behaviours.hypotheses.value"),
    "validate": ("pearson_predicted", "spearman_predicted", "slope_predicted", "pearson_influence", "swaps.pearson",
                 "faithfulness", "completeness", "controls.mean_absolute_effect"),
}  # fmt: skip
"""Kind of job -> the numbers that it is asked for, without the places in lists."""
EXPECTED_NAME = "expected.json"
"""The archive path of the claims."""
MOST_HEADLINES = 8
"""Numbers of a job that stand for the rest."""
NOT_COMPARED = frozenset(
    {
        "job", "graph", "capture", "intervention", "seconds", "cpu_seconds", "wall_seconds", "elapsed_s",
        "closing_error", "created_at", "plan", "bytes", "pid",
    }
)  # fmt: skip
"""Keys of a document that name rows, tell time or size, or are rounding themselves."""
NOT_CLAIMED = frozenset({"pack", "import", "import-dictionary"})
"""Kinds of job that compute no number of the model."""


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move: |got - expected| ≤ absolute + relative · |expected|."""

    absolute: float = 1e-3
    relative: float = 1e-2

    def allowed(self, expected: float) -> float:
        """The largest difference that is as good as none."""
        return self.absolute + self.relative * abs(expected)

    def holds(self, expected: float, got: float) -> bool:
        """Whether `got` is as good as `expected`."""
        return abs(got - expected) <= self.allowed(expected)


LOOSER = {
    "sign_agreement": Tolerance(0.25, 0.0),
    "swaps.spearman": Tolerance(0.05, 0.0),
    "below_noise": Tolerance(2.0, 0.1),
}
"""Shares and ranks among effects that may be nothing but rounding: another number of threads moves them."""


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of each number: the usual one, unless a part of its name has a looser one."""

    usual: Tolerance = Tolerance()
    looser: Mapping[str, Tolerance] = field(default_factory=lambda: dict(LOOSER))

    def of(self, number: str) -> Tolerance:
        """The tolerance of the number of that name."""
        return next((found for part, found in self.looser.items() if part in number), self.usual)

    def document(self) -> dict[str, Any]:
        """As `expected.json` and `--json` have them."""
        return asdict(self.usual) | {"looser": {part: asdict(found) for part, found in self.looser.items()}}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Tolerances:
        """From a document; raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` for one that holds none."""
        looser = {str(part): _tolerance(found) for part, found in document["looser"].items()}
        return cls(_tolerance(document), looser)


def _tolerance(document: Mapping[str, Any]) -> Tolerance:
    return Tolerance(float(document["absolute"]), float(document["relative"]))


@dataclass(frozen=True)
class Claim:
    """What one job printed."""

    job: int
    kind: str
    numbers: Mapping[str, float]
    """Path in the job's document to the number."""


def claims_of(jobs: Sequence[Job]) -> list[Claim]:
    """The claims of finished jobs: of jobs asked for twice with the same params the later one, in order."""
    claimed = [job for job in jobs if job.kind not in NOT_CLAIMED]
    latest = {(job.kind, str(job.params)): job for job in sorted(claimed, key=lambda job: job.id)}
    return [
        Claim(job.id, job.kind, dict(numbers(job.result or {})))
        for job in sorted(latest.values(), key=lambda job: job.id)
    ]


def headlines(kind: str, names: Collection[str]) -> list[str]:
    """Those of a job's numbers that stand for the rest: the ones that its kind is asked for, else those highest up."""
    asked = _HEADLINES.get(kind, ())
    place = {name: asked.index(bare) for name in names if (bare := _INDEX.sub("", name)) in asked}
    if place:
        return sorted(place, key=lambda name: place[name])[:MOST_HEADLINES]
    return sorted(names, key=lambda name: (name.count("[") + name.count("."), name))[:MOST_HEADLINES]


def write_claims(claims: Sequence[Claim], tolerances: Tolerances) -> bytes:
    """The claims as an entry of a pack."""
    document = {"tolerance": tolerances.document(), "jobs": [asdict(claim) for claim in claims]}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def read_claims(content: bytes) -> tuple[list[Claim], Tolerances]:
    """The claims of an entry; `Damaged` if it does not hold any."""
    try:
        document = json.loads(content)
        tolerances = Tolerances.read(document["tolerance"])
        claims = [
            Claim(int(each["job"]), str(each["kind"]), {name: float(n) for name, n in each["numbers"].items()})
            for each in document["jobs"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"{EXPECTED_NAME} cannot be read", "get the pack again from who made it") from error
    return claims, tolerances


def numbers(document: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a document with its path, but for those of `NOT_COMPARED`."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in NOT_COMPARED:
                yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from numbers(value, f"{path}[{index}]")
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path, float(document)
