"""The audit of a collection before anything is trained on it."""
