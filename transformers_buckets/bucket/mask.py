"""What is told to people: without the tokens and passwords that may be in an address or in an error."""

import re


_SECRETS = re.compile(r"(?<=://)[^/@\s]+(?=@)|(?<=:)[^/@\s]+(?=@)|\bhf_[A-Za-z0-9]{20,}\b")


def masked(text: str) -> str:
    """A text with `***` for passwords in addresses and for what looks like a token."""
    return _SECRETS.sub("***", text)
