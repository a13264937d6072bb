"""The one training loop, `fit`, with what surrounds it: compiled forward passes, checkpoints, memory.

Knows batches and quantizers; nothing of methods, which give it their losses and epochs.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.train.allocator import keep_freed_memory as keep_freed_memory
    from core.train.forward import (
        Forward as Forward,
        compile_seconds as compile_seconds,
        compiled as compiled,
        fixed_size as fixed_size,
        plain as plain,
    )
    from core.train.loop import (
        NO_CALLBACKS as NO_CALLBACKS,
        AfterEpoch as AfterEpoch,
        Callbacks as Callbacks,
        EpochFacts as EpochFacts,
        OnEpoch as OnEpoch,
        cross_entropy as cross_entropy,
        fit as fit,
    )
    from core.train.params import (
        LearningRate as LearningRate,
        Params as Params,
        Positive as Positive,
        Precision as Precision,
        Schedule as Schedule,
        TrainParams as TrainParams,
    )
    from core.train.precision import (
        Chosen as Chosen,
        auto_precision as auto_precision,
        autocast as autocast,
        bfloat16_share as bfloat16_share,
        chosen_precision as chosen_precision,
    )
    from core.train.state import Memory as Memory
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
