"""The one exception a person's mistake raises: shown as a sentence, without a traceback."""


class UserError(Exception):
    """Something the caller can mend: the message says what is wrong, where, and what to do."""


class UsageError(UserError):
    """The command line or the configuration is wrong (exit status 2 instead of 1)."""
