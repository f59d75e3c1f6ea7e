"""The settings that other libraries save beside their models, as JSON."""

import json
from pathlib import Path
from typing import Any

from lvm_bench.errors import UserError


def settings_in(file: Path, advice: str) -> Any:
    """The content of a file of settings. UserError where there is none, which ends with `advice`, or no JSON."""
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). {advice}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error}). Save the model again.") from error
