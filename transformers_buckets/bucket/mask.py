"""What is told to people: without the tokens and passwords that may be in an address or in an error."""

import re


# Tokens of a login by OAuth go on with dots and dashes, those of organisations begin otherwise.
_SECRETS = re.compile(r"(?:(?<=://)[^/\s]+|(?<=:)(?!//)\S+)(?=@)|\b(?:hf|api)_(?:[a-z]+_)?[A-Za-z0-9]{20,}[\w.-]*\b")


def masked(text: str) -> str:
    """A text with `***` for passwords in addresses and for what looks like a token."""
    return _SECRETS.sub("***", text)
