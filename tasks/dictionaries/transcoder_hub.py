"""Files of transcoder sets on the Hugging Face hub: how they are named, fetched into its own cache, and listed."""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
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


def fetch(place: HubPlace) -> Path:
    """The file at `place`, from the hub's cache or downloaded into it (`HF_HUB_OFFLINE` forbids that).

    Raises `BadInput` for a repository, revision or file that does not exist, `Missing` where it is gated or the hub
    cannot be reached.
    """
    try:
        return Path(hf_hub_download(place.repository, place.path, revision=place.revision))
    except GatedRepoError as error:
        raise Missing(
            f"{place.repository} is gated on the hub",
            f"ask for access at huggingface.co/{place.repository}, then log in",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(
            f"the hub has no repository {place.repository}", "check the name, or log in if it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise BadInput(
            f"{place.repository} has no revision {place.revision}", "name a branch, tag or commit"
        ) from error
    except LocalEntryNotFoundError as error:
        raise unreachable(place) from error
    except EntryNotFoundError as error:
        raise BadInput(f"the hub has no {place}", "name a repository or folder with a transcoder set") from error
    except (httpx.HTTPError, OSError) as error:
        raise unreachable(place) from error


def unreachable(place: HubPlace) -> Missing:
    """The error for a file that is neither in the cache nor to be had."""
    return Missing(
        f"{place} is not in the hub's cache and could not be fetched",
        "check the network (HF_HUB_OFFLINE, proxy, token) and the free space, or give a local directory",
    )


def names_beside(folder: HubPlace, found: Path) -> tuple[set[str], bool]:
    """Names of the files in `folder`, and whether these are all of them: without the hub, only those in its cache.

    `found` is a file of that folder in the cache.
    """
    prefix = f"{folder.path}/" if folder.path else ""
    try:
        listed = HfApi().model_info(folder.repository, revision=folder.revision, timeout=_PATIENCE_S).siblings or []
    except (httpx.HTTPError, OSError):
        return {path.name for path in found.parent.iterdir()}, False
    return {file.rfilename.removeprefix(prefix) for file in listed if file.rfilename.startswith(prefix)}, True


def commit_of(place: HubPlace, found: Path) -> str:
    """The commit that a file in the hub's cache belongs to: …/snapshots/COMMIT/path."""
    return found.parents[len(PurePosixPath(place.path).parts) - 1].name
