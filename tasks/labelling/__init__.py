"""Saying what features mean: what a judge is shown, the judges, and how good a label is (METHOD §7)."""
