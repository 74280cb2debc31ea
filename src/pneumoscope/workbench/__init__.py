"""The workbench: a page where people look, and an API where programs ask."""
