"""Figures of graphs for people: pure functions from a graph's view to SVG and to an offline page."""
