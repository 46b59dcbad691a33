"""Sluice beside its peers, in one run: `make bench`. What is measured, and how, is in docs/performance.md."""
