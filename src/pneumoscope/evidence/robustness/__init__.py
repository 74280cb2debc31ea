"""What a model loses under stated shifts of its input."""
