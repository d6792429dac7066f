"""The face: what a person touches. It starts work through `tasks` and reads what lasts from `store`."""

VERSION = "0.1.0"
"""The version of the workbench, recorded in every project and pack."""
