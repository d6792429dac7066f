"""The graph pane: the tree, the map, the card, and what is done to a graph."""
