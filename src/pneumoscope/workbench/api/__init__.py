"""The API: what programs ask, under /api/v1."""

from pneumoscope.workbench.api.app import add_api

__all__ = ["add_api"]
