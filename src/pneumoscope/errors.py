"""The one family of errors: what was found, what is allowed, what to do next, in one sentence."""

from __future__ import annotations


class PneumoscopeError(Exception):
    """Root of all errors that a caller can cause or mend.

    `exit_code` is what the command line answers with: 2 for misuse, a damaged bundle or a missing
    extra, 1 where some of the work was done.
    """

    exit_code = 2


class ImageError(PneumoscopeError):
    """One image cannot be used: damaged, empty, too large, or no image at all."""

    exit_code = 1


class DataError(PneumoscopeError):
    """A collection of images cannot be used as it is: no layout, one class only, an empty split."""


class ArchiveError(DataError):
    """An archive is damaged or hostile: it escapes its folder, holds links, or is a bomb."""


class DownloadError(DataError):
    """A data set or weights cannot be had from where they live."""


class BundleError(PneumoscopeError):
    """A bundle is damaged, foreign, or newer than this version understands."""


class ModelError(PneumoscopeError):
    """A model of others is damaged, is not as its description says, or answers no such thing."""


class HubError(PneumoscopeError):
    """A model hub cannot be reached, or does not let a bundle in."""


class WeightsError(PneumoscopeError):
    """Initial weights are missing, do not fit, or have seen a test image."""


class RecipeError(PneumoscopeError):
    """A recipe or one of its settings is not understood."""


class RunError(PneumoscopeError):
    """A run folder is in use, finished, or cannot be resumed."""


class RecordError(PneumoscopeError):
    """The record of a service cannot be opened, is newer, or does not hold what was asked for."""


class ServiceError(PneumoscopeError):
    """A service cannot start as it was asked to, cannot be reached, or refuses."""


class OverloadedError(ServiceError):
    """A service has as much to do as it may; asking again later helps."""


class MissingExtraError(PneumoscopeError):
    """A command needs an optional dependency that is not installed."""
