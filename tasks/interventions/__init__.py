"""The real model edited: what happens when features are removed, scaled, steered or swapped, and was it foretold."""
