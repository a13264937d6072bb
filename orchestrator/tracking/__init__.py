"""The MLflow mirror: a projection of the store's rows. Parquet stays the truth.

The only room that imports MLflow. Must not be needed by anything that computes or reports.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.tracking.addresses import run_pages as run_pages
    from orchestrator.tracking.client import cells as cells, is_server as is_server, quiet as quiet
    from orchestrator.tracking.mirror import (
        Mirror as Mirror,
        experiment_name as experiment_name,
        tracking_uri as tracking_uri,
    )
    from orchestrator.tracking.views import compare_page as compare_page, page as page
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
