"""HTTP for programs: JSON in, JSON out, a module a noun."""
