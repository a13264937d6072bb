"""What a grid is: `GridSpec`, its fields and labels, the recipes and papers that give one, and what things are called.

`parse_spec` and `with_overrides` turn files and command lines into a checked value. Must not know plans or stores.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.spec import titles as titles
    from orchestrator.spec.class_names import class_name as class_name
    from orchestrator.spec.colours import Style as Style, colour_of as colour_of, styles as styles
    from orchestrator.spec.fields import LimitSpec as LimitSpec
    from orchestrator.spec.forget_list import ForgetList as ForgetList
    from orchestrator.spec.labels import (
        base_name as base_name,
        hook_label as hook_label,
        inapplicable as inapplicable,
        json_or_text as json_or_text,
        label_options as label_options,
        without_option as without_option,
    )
    from orchestrator.spec.overrides import grid_spec as grid_spec, with_overrides as with_overrides
    from orchestrator.spec.printed_names import (
        arch_name as arch_name,
        dataset_name as dataset_name,
        method_name as method_name,
    )
    from orchestrator.spec.recipes import RECIPES as RECIPES
    from orchestrator.spec.specification import (
        ALL as ALL,
        GridSpec as GridSpec,
        SearchSpec as SearchSpec,
        node_params as node_params,
        parse_spec as parse_spec,
    )
    from orchestrator.spec.strictness import start_caveats as start_caveats, strict as strict
    from orchestrator.spec.titles import ORIGINAL as ORIGINAL
    from orchestrator.spec.validation import models_in as models_in
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
