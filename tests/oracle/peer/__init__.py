"""circuit-tracer 0.5.0's graphs of tiny models of every family: the cases, their seeded inputs, its stored answers."""
