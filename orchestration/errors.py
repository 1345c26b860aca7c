"""The ways a run can end badly. Each message is one sentence: what, where, what to do."""


class SightlineError(Exception):
    """A run that ends without a release; `exit_code` is what the command line returns."""

    exit_code = 3


class UsageError(SightlineError):
    """Wrong use or configuration: the person at the keyboard can mend it."""

    exit_code = 2


class SourceError(SightlineError):
    """A source, or the machine, failed."""

    exit_code = 3


class RefusedError(SightlineError):
    """A gate said no; the last release stands."""

    exit_code = 1
