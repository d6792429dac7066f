"""The model child, with the scripted task beside the real ones."""

import sys

from workbench.worker.child_process import die_with, main

if __name__ == "__main__":
    die_with(int(sys.argv[3]))
    from tests.workbench.worker.scripted_task import register

    register()
    main(sys.argv[1:])
