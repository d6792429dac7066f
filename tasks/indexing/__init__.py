"""Describing the features of dictionaries: one streamed pass of bounded, mergeable state, and what is made of it."""
