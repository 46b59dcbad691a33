"""One module a scenario: `CONTENDERS`, and `measure(arena)`, which answers figures or raises Void."""
