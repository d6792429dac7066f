"""What F1 says of the features pane."""

HELP = """
What the features of trained and imported dictionaries mean, as far as an index says: run `workbench index`, or press i.

Words in the search box find features by their labels, by the text around their strongest examples and by the tokens
that they promote; all of them have to occur, and the last may be a beginning. Filters narrow what is found:

  layer:8-14,20        layers                            set:NAME  kind:sae     the dictionary set, its kind
  density:<1%          share of tokens it is active on   max:>10                largest activation
  label:?  label:*     without a label, with one         label:capital          with a word in the label
  star:                starred                           fires-on:" Paris"      a token of its strongest examples
  in:5  in:5@7         active in graph 5, at position 7  not-in:6               not active in graph 6

A judge (l) writes labels from examples, and is then asked, of examples that it was not shown and knowing the label
alone, where the feature is active (detection) and on which tokens (fuzzing). The score before a label in the list is
its detection: 0.5 is chance, 1 is perfect. Beside a score on the card stand what the tokens alone would reach, and what
a coin stays below 19 times in 20. The report (r) counts dead, dense, duplicated and token-bound features of the set.

Density is the share of the indexed tokens that a feature is active on; maximum and mean are activations over these
tokens. The histogram counts tokens by activation, each column twice as far as the one before. Promoted and suppressed
tokens are what the feature writes directly to the logits for an activation of 1, later layers left out. Under each
example stand the feature's activations on its tokens, on one scale for the whole card. Predicted effects are what the
decisive logit would lose without the feature, first order, in nats; measured ones come from the real model.
"""
