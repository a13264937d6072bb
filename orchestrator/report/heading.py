"""What a report is called: by its recipe, or, where the data or settings are the user's, by these."""

from collections.abc import Sequence

from orchestrator.spec import RECIPES, GridSpec, titles

_BESIDE = {
    "tracking",
    "resources",
    "needs_gpu",
    "weights_saw",
    "data",
}  # what changes no figure, and `data` in part
NAMED = 3  # names of one kind that are told one by one


def heading(spec: GridSpec) -> str:
    """`digits`; or `flowers, 32 px · ResNet-18 · 4w4a · random 10 %` for a grid that is not the recipe's own."""
    return spec.recipe if _is_the_recipe(spec) else settings_text(spec).replace(" %", "\N{NO-BREAK SPACE}%")


def origin(spec: GridSpec) -> str:
    """Where the settings come from, for a heading that does not say it; nothing where it does."""
    if _is_the_recipe(spec):
        return ""
    return f"after the recipe {spec.recipe}, changed" if spec.recipe in RECIPES else f"grid {spec.recipe}"


def settings_text(spec: GridSpec) -> str:
    """The data, networks, quantizations and forget sets in a line."""
    quantizations = dict.fromkeys(quant.label for arch in spec.archs for quant in spec.quant_specs(arch))
    forgotten = [titles.scenario("random", ratio) for ratio in spec.ratios]
    forgotten += [titles.scenario("class", float(label)) for label in spec.classes]
    forgotten += [f"list {each.name}" for each in spec.forget.list]
    parts = (
        _some([titles.title(name) for name in spec.datasets], "data sets"),
        _some([titles.title(name) for name in spec.archs], "networks"),
        _some(list(quantizations), "quantizations"),
        _some(forgotten, "forget sets"),
    )
    return " · ".join(parts)


def _some(names: Sequence[str], what: str) -> str:
    return " and ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def _is_the_recipe(spec: GridSpec) -> bool:
    """Whether nothing that changes a figure differs from the recipe of that name; where data lie changes none."""
    if spec.recipe not in RECIPES:
        return False
    usual = RECIPES[spec.recipe]()
    same = all(getattr(spec.data, name) == getattr(usual.data, name) for name in ("limit", "augment"))
    return same and spec.model_dump(exclude=_BESIDE) == usual.model_dump(exclude=_BESIDE)
