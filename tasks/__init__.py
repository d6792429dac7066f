"""The work: one module a deliverable, and the rooms they share."""

import os

# Threads that wait for each other sleep instead of spinning. On a machine whose cores are shared, spinning makes a
# forward pass ten times slower (measured: 4.0 s against 0.37 s); read by OpenMP when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
