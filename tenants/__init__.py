"""Who: businesses, their members, permissions and the audit log. Knows nothing of tasks or pages."""
