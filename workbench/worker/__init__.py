"""The background: a supervisor that loads no torch, one child that holds the model, and the socket between them and a
person.

The job table is the truth; everything that passes here only announces what it says.
"""
