"""Files of transcoder sets on the Hugging Face hub: how they are named, fetched into its own cache, and listed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported at run time, whatever its version

from store.errors import BadInput, Missing

_FORM = re.compile(
    r"(?:hf://)?(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<early>[^/?@]+))?(?:/(?P<path>[^@?]+?)/?)?"
    r"(?:@(?P<late>[^@?]+)|\?revision=(?P<query>[^&@?]+))?"
)
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class HubPlace:
    """A repository of the hub, or a folder or file in it."""

    repository: str
    path: str
    """Inside the repository; empty for the whole."""
    revision: str | None
    """A branch, tag or commit; the main branch if None."""

    @classmethod
    def parse(cls, text: str) -> "HubPlace | None":
        """`org/repo[/path][@revision]`, with or without `hf://`; circuit-tracer's `?revision=` and `@` after the
        repository are understood too. None if the text is no such name."""
        match = _FORM.fullmatch(text)
        if match is None or ".." in PurePosixPath(text).parts:
            return None
        return cls(match["repository"], match["path"] or "", match["early"] or match["late"] or match["query"])

    def __str__(self) -> str:
        path = f"{self.repository}/{self.path}" if self.path else self.repository
        return path if self.revision is None else f"{path}@{self.revision}"

    def within(self, name: str) -> "HubPlace":
        """The file of that name in this folder."""
        return replace(self, path=f"{self.path}/{name}" if self.path else name)


class Hub:
    """The hub as one load sees it: whether it answers is asked once for each repository.

    Without the hub (no network, or `HF_HUB_OFFLINE`), its cache on this machine is all there is.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None], tuple[str, ...] | None] = {}

    def fetch(self, place: HubPlace) -> Path:
        """The file at `place`, from the hub's cache or downloaded into it.

        Raises `BadInput` for a repository, revision or file that does not exist, `Missing` where it is gated or cannot
        be had.
        """
        offline = self._files_of(place) is None
        with _in_words(place):
            return Path(
                hf_hub_download(place.repository, place.path, revision=place.revision, local_files_only=offline)
            )

    def names_in(self, folder: HubPlace) -> set[str] | None:
        """Paths of the files in `folder`, from there; None without the hub."""
        files = self._files_of(folder)
        prefix = f"{folder.path}/" if folder.path else ""
        return None if files is None else {name.removeprefix(prefix) for name in files if name.startswith(prefix)}

    def _files_of(self, place: HubPlace) -> tuple[str, ...] | None:
        """Every file of the place's repository; None without the hub, which is asked once and without retries."""
        key = (place.repository, place.revision)
        if key not in self._seen:
            self._seen[key] = _all_files(place)
        return self._seen[key]


class _OutOfReach(Missing):
    """Neither the hub nor its cache has an answer."""


def commit_of(place: HubPlace, found: Path) -> str:
    """The commit that a file in the hub's cache belongs to: …/snapshots/COMMIT/path."""
    return found.parents[len(PurePosixPath(place.path).parts) - 1].name


def _all_files(place: HubPlace) -> tuple[str, ...] | None:
    try:
        with _in_words(place):
            info = HfApi().model_info(place.repository, revision=place.revision, timeout=_PATIENCE_S)
    except _OutOfReach:
        return None
    return tuple(file.rfilename for file in info.siblings or [])


@contextmanager
def _in_words(place: HubPlace) -> Iterator[None]:
    """The hub's errors as what they mean for a person."""
    repository = place.repository
    try:
        yield
    except GatedRepoError as error:
        raise Missing(f"{repository} is gated on the hub", f"ask for access at huggingface.co/{repository}") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        fault = f"the hub has no repository {repository}"
        raise BadInput(fault, "check the name, or log in if it is private") from error
    except RevisionNotFoundError as error:
        raise BadInput(f"{repository} has no revision {place.revision}", "name a branch, tag or commit") from error
    except RemoteEntryNotFoundError as error:
        raise BadInput(f"the hub has no {place}", "name a repository or folder with a transcoder set") from error
    except (httpx.HTTPError, OSError) as error:
        raise _OutOfReach(
            f"{place} is not in the hub's cache and could not be fetched",
            "check the network (HF_HUB_OFFLINE, proxy, token) and the free space, or give a local directory",
        ) from error
