"""The paper's case studies tested on a model: a hypothesis is a number beside its controls, and a verdict follows."""
