"""ClawtopError and its kinds; every message says what happened, to what, and what to do.

ClawtopError
 ├── UsageError     a flag, URI or filter expression that cannot be understood (exit code 2)
 └── SourceError    a source that cannot be read now; the engine tries it again
"""

FINE, TROUBLE, USAGE = 0, 1, 2
"""Exit codes."""


class ClawtopError(Exception):
    """What clawtop tells its user instead of a traceback."""


class UsageError(ClawtopError):
    """The command line, a source URI or a filter expression cannot be understood."""


class SourceError(ClawtopError):
    """A source cannot be read at the moment."""


class Unusable(ClawtopError):
    """One entry cannot be used. Its text is one of few fixed reasons, because skips are counted by it."""
