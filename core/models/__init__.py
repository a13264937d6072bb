"""The networks: `MODELS`, and `build`, which returns one initialised and quantized.

A network is one file with its constructor and an entry of `MODELS`. Knows quantizers, and neither data nor methods.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.models.aggregation import Aggregate as Aggregate, aggregate as aggregate
    from core.models.building import build as build, check_weights_of as check_weights_of
    from core.models.ensemble import (
        activate_ as activate_,
        ensemble_of as ensemble_of,
        members as members,
    )
    from core.models.features import Features as Features
    from core.models.generator import NOISE as NOISE, Generator as Generator
    from core.models.init import initialise_ as initialise_
    from core.models.low_rank import (
        add_low_rank_ as add_low_rank_,
        merged as merged,
    )
    from core.models.networks import (
        MODELS as MODELS,
        ModelInfo as ModelInfo,
        model_info as model_info,
    )
    from core.models.one_class import (
        OneClassEnsemble as OneClassEnsemble,
        one_class_ensemble as one_class_ensemble,
        train_shifts_ as train_shifts_,
    )
    from core.models.released import LearnableBias as LearnableBias
    from core.models.shapes import cell_averages as cell_averages, to_grid as to_grid
    from core.models.unit_head import (
        unit_features as unit_features,
        unit_head_of as unit_head_of,
        with_unit_head as with_unit_head,
    )
    from core.models.weights import check_digest as check_digest, file_digest as file_digest
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
