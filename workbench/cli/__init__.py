"""The command line. stdout is data, stderr is narration.

Exit codes: 0 ok, 1 the work failed, 2 bad input, 3 no model or project, 130 stopped.
"""
