"""What students learn from a teacher: one class a loss."""
