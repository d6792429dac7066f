"""What the machine multiplies fast."""

from functools import cache

import torch


@cache
def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Whether products of bfloat16 are several times faster than those of float32: tensor units on a CPU (AMX).

    A GPU's float32 products are fast enough beside what finding candidates would cost there.
    """
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()
