"""Pure renderers: data in, rich `Text` and `Table` out, used by the command line and by the app alike (no textual)."""
