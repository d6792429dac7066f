"""`python -m tests.workbench.worker.scripted_command WORDS…`: the command line, with the scripted task."""

from tests.workbench.worker.scripted_task import register
from workbench.cli.command_list import COMMANDS
from workbench.cli.main import main

if __name__ == "__main__":
    register()
    COMMANDS["scripted"] = "For tests."
    main()
