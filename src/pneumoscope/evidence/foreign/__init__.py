"""Models of other makers, behind the interface of our own."""
