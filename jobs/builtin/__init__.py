"""Task types that ship with Sluice and do real work: counting, exports and scripts."""
