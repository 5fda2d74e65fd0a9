"""How a study runs: settings, one training, and the store that resumes it."""
