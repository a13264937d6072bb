"""The command line behind `python -m orchestrator.grid`: verbs, options, help, completion, what a terminal shows.

Puts the other rooms together; nothing imports it but the commands themselves.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.cli import completion as completion, help as help, verbs as verbs
    from orchestrator.cli.grid_and_store import open_grid as open_grid
    from orchestrator.cli.options import Export as Export, Options as Options
    from orchestrator.cli.printing import speak_any_encoding as speak_any_encoding
    from orchestrator.cli.standard_output import (
        SIGPIPE_CODE as SIGPIPE_CODE,
        broken as broken,
        complain as complain,
        flushed as flushed,
        given_up as given_up,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
