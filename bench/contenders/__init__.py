"""One module a contender: its task, and how a program submits one. Each is imported in that contender's environment."""
