"""One module a scenario: `CONTENDERS`, `MAX_ROUNDS`, and `measure(arena)`, which answers figures or raises Void.

One whose figures are no times may say `DISCARDED = 0`.
"""
