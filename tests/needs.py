"""What a test needs and not every machine has: without it the test is skipped, loudly, and fails in CI."""

import os
import sys

import pytest


def missing(what, remedy):
    """End the test, because `what` is not here: it fails in CI (`CI` is set), and is skipped anywhere else."""
    message = f"{what}: {remedy}"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{message}. CI skips nothing.", pytrace=False)
    sys.__stderr__.write(f"\n*** {message} ***\n")
    pytest.skip(message)
