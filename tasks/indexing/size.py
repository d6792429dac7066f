"""What an index takes of memory, from the sizes of what it holds. Bytes."""

from store.contexts import N_CONTEXTS
from tasks.indexing.coactivation import FEATURES_A_TOKEN
from tasks.indexing.kept_examples import WINDOW
from tasks.indexing.layer_pass import N_SAMPLED

ACTIVE_BYTES = 80
"""Of one activation that is not zero while it is counted in: where it is, its powers, its draw."""
TEXT_BYTES = 3000
"""Of one described feature: its lists and contexts, as they are stored, until all layers are written."""
_TOTALS = 200
_SAMPLE_OF_TOKENS = 272
_SLOT = 12
"""An example's activation and place."""
_ROWS_AT_ONCE = 2048
_CODES_AT_ONCE = 1 << 25
_COUNTS_AT_ONCE = 1 << 23
_COUNT_BYTES = 33
"""Of one pair of features while the shares of their tokens are compared."""
_PAIRS_AT_ONCE = 1 << 22
_PAIR_BYTES = 24


def rows_at_once(n_features: int) -> int:
    """Tokens of one layer whose features are computed together."""
    return max(1, min(_ROWS_AT_ONCE, _CODES_AT_ONCE // n_features))


def state_bytes(n_examples: int) -> int:
    """What is known of one feature during the pass."""
    slots = n_examples + N_SAMPLED
    windows = min(n_examples, N_CONTEXTS) + N_SAMPLED
    return _TOTALS + _SAMPLE_OF_TOKENS + slots * _SLOT + 2 * windows * WINDOW


def comparing_bytes(n_features: int, n_tokens: int) -> int:
    """What the search for features that are active together takes at once, of one layer."""
    counts = min(n_features**2, _COUNTS_AT_ONCE)
    pairs = min(n_tokens * FEATURES_A_TOKEN**2, _PAIRS_AT_ONCE)
    return counts * _COUNT_BYTES + pairs * _PAIR_BYTES
