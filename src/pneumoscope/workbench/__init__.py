"""The workbench: a page where people look, and an API where programs ask."""

from pneumoscope.workbench.app import create_app
from pneumoscope.workbench.service import Service
from pneumoscope.workbench.settings import Limits, Settings

__all__ = ["Limits", "Service", "Settings", "create_app"]
