"""The peers' own trainers, each run in its own environment; nothing of the workbench is imported.

Each is given what suits it at this length of run (docs/benchmarks.md): Adam, warm-up over 5 % of the steps, its own
decay, decoder rows of unit norm, b_dec at the data's mean, and activations of mean norm one or scaled by itself.
"""
