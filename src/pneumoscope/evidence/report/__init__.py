"""The pages that people read, print and attach."""
