"""The errors a person is meant to read: each names the fault, the mend, and the exit code of the command it ends.

They live in the lowest room so that every room can raise them. `str(error)` is the one line that is printed.
"""


class WorkbenchError(Exception):
    """The work failed: exit code 1."""

    exit_code = 1

    def __init__(self, fault: str, mend: str) -> None:
        """Take what went wrong (`fault`) and what the person can do about it (`mend`), both without a final stop."""
        super().__init__(f"{fault}; {mend}")
        self.fault = fault
        self.mend = mend


class BadInput(WorkbenchError):
    """An option, prompt or file that cannot be used as given: exit code 2, nothing written."""

    exit_code = 2


class Damaged(BadInput):
    """A stored file whose size or content hash differs from its row, or that cannot be read at all."""


class Missing(WorkbenchError):
    """What is needed or named is not there (a project, model or worker; a graph or a job of a project): exit code 3."""

    exit_code = 3


class Cancelled(WorkbenchError):
    """The person stopped the work: exit code 130."""

    exit_code = 130


class Reported(WorkbenchError):
    """What another process ended with: its line and its exit code, as it wrote them."""

    def __init__(self, line: str, exit_code: int) -> None:
        """Take the whole line."""
        Exception.__init__(self, line)
        self.fault, _, self.mend = line.rpartition("; ")
        self.exit_code = exit_code
