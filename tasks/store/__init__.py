"""The store: every result of a grid as files under one URI, written whole or not at all, manifest last.

Knows files, addresses and digests. Must not know what a node computes or who asks.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from tasks.store.lease import Lease as Lease, alive as alive, read_lease as read_lease
    from tasks.store.manifest import (
        Corrupt as Corrupt,
        Manifest as Manifest,
        fingerprint as fingerprint,
    )
    from tasks.store.running import (
        SILENT as SILENT,
        Running as Running,
        beat as beat,
        name_of as name_of,
        read_running as read_running,
        remove_silent as remove_silent,
    )
    from tasks.store.store import Store as Store
    from tasks.store.uri import nearby as nearby, public as public, scrub as scrub
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
