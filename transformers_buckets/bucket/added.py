"""What a command added to a run last: said in a file of its own, which trainings read and never write, so that none is lost."""

import json
import logging

from .errors import BrokenCheckpointError
from .manifest import Place


ADDED_NAME = "bucket_added.json"
FORMAT = 1

logger = logging.getLogger(__name__)


def to_json(name: str, place: Place) -> bytes:
    """The content of the file: the checkpoint and the place in the run that a command is about to give it."""
    return json.dumps({"format": FORMAT, "checkpoint": name, "place": place}).encode() + b"\n"


def place_in(content: bytes | BrokenCheckpointError) -> Place:
    """The place that the file names. Its content is hostile input: where it says nothing, no place is taken."""
    try:
        claim, number = json.loads(content)["place"]
        return Place(int(claim), int(number))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        logger.warning(
            f"{ADDED_NAME} is not readable: what a command added to the run may come after what is pushed now."
        )
        return Place()
