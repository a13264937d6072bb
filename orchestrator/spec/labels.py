"""Method labels: a method's name, and options that set it apart from the method as the grid runs it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from core.data import dataset_info, scenario_kind
from core.errors import BadInput, unknown
from core.unlearn import ABLATED, METHODS, Method
from orchestrator.spec.printed_names import method_name
from orchestrator.spec.validation import valid

Protocol = Literal["paper", "released"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "released")


@dataclass(frozen=True)
class Variant:
    """A method as a cell asks for it.

    label: canonical, so that two spellings of one variant are one cell. options: hyper-parameters that the
    label sets, as JSON values. protocol: whose options it starts from; None: the grid's.
    """

    label: str
    method: Method
    options: dict[str, Any]
    protocol: Protocol | None = None

    @property
    def name(self) -> str:
        """The method's name, which its trials carry."""
        return base_name(self.label)


def base_name(label: str) -> str:
    """The method's name in a label."""
    return label.partition(":")[0]


def label_options(label: str) -> list[str]:
    """The options that a label names, `protocol` among them."""
    return [setting.partition("=")[0] for setting in label.split(":")[1:]]


def without_option(label: str, option: str) -> str:
    """The label of the variant that leaves an option as it is: `qmul:order=sequential` without `order` is `qmul`."""
    name, *settings = label.split(":")
    return ":".join([name, *(setting for setting in settings if setting.partition("=")[0] != option)])


def parse_method(label: str) -> Variant:
    """Reads `qmul`, `qmul:label_rule=released:order=sequential`, or `mypackage.mine:METHOD:lr=0.1` from outside.

    Values are JSON, and what is no JSON is text; the pseudo-option `protocol` is paper or released. In the
    canonical label options are in alphabetical order and values as the method's parameters hold them.
    Raises BadInput for an unknown method or option, and for a value that the method does not take.
    """
    label = METHODS.canonical(label)
    name, *settings = label.split(":")
    name = method_name(name)
    method = METHODS[name]
    if not settings:
        return Variant(name, method, {})
    if name == "retrain":
        raise BadInput(
            f"'{label}': Retrain is every method's reference and takes no options; set retrain.{settings[0]}"
        )
    given = _settings(label, settings)
    protocol = _protocol(label, given.pop("protocol", None))
    for option in given:
        if option not in method.params.model_fields:
            raise unknown(f"option of {name}", option, (*method.params.model_fields, "protocol"))
    values = method.params(**valid(f"'{label}'", method.params, worded(method, given))).model_dump(
        mode="json"
    )
    options = {option: values[option] for option in sorted(given)}
    return Variant(_label(name, options, protocol), method, options, protocol)


def _settings(label: str, settings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in settings:
        option, separator, value = text.partition("=")
        if not option or not separator or not value:
            raise BadInput(f"'{label}': write method:option=value, such as qmul:order=sequential")
        if option in found:
            raise BadInput(f"'{label}' sets {option} twice")
        found[option] = json_or_text(value)
    return found


def _protocol(label: str, value: Any) -> Protocol | None:
    if value is None or value in PROTOCOLS:
        return value
    raise BadInput(f"'{label}': {unknown('protocol', value, PROTOCOLS)}")


def _label(name: str, options: dict[str, Any], protocol: Protocol | None) -> str:
    settings = options | ({"protocol": protocol} if protocol else {})
    return ":".join([name, *(f"{option}={text_of(settings[option])}" for option in sorted(settings))])


# the fields that ask for a scenario
_ASKED = {"random": "ratios=…", "class": "classes=…", "list": "forget.list=…"}


def inapplicable(label: str, scenario: str) -> str:
    """Why a method has no cell in a scenario, in one line; nothing if it has one.

    Who forgets a random share forgets any images, those of a list too.
    """
    method, kind = METHODS[base_name(label)], scenario_kind(scenario)
    if ("class" if kind == "class" else "random") in method.scenarios:
        return ""
    what, instead = ("random shares", "random") if kind == "class" else ("whole classes", "class")
    return f"forgets {what} only; set {_ASKED[instead]} in place of {_ASKED[kind]}"


def hook_label(method: Method, setting: Mapping[str, Any]) -> str:
    """A method and what of its hook's setting is not the default: `mnemonic`, `amnesiac:fraction=0.1`."""
    assert method.hook is not None
    usual = method.hook.setting(method.params())
    return _label(method.name, {name: v for name, v in setting.items() if v != usual[name]}, None)


def json_or_text(text: str) -> Any:
    """The value of a command line's text: JSON, and what is no JSON is the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also a number of thousands of digits, and lists a thousand deep
        return text


def text_of(value: object) -> str:
    """The text that `json_or_text` and `worded` read an option's value from."""
    return value if isinstance(value, str) else json.dumps(value)


def worded(method: Method, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the word `true` where one has that word and JSON or YAML read a truth value."""
    fields = method.params.model_fields
    words = {name: get_args(fields[name].annotation) for name in options if name in fields}
    return {
        name: text_of(value) if isinstance(value, bool) and text_of(value) in words.get(name, ()) else value
        for name, value in options.items()
    }


def released_options(method: Method, dataset: str) -> dict[str, Any]:
    """What the published code sets for a method on a data set.

    Beside the method's own list this is the order of its passes: the code takes forget and retain set one
    after the other on CIFAR-10 and SVHN, and mixes them elsewhere (ALGORITHMS 3.3 S8, 4.4).
    """
    options = dict(method.released)
    if "order" in method.params.model_fields:
        options["order"] = dataset_info(dataset).published_order
    return options


def undone_ablation(name: str, values: dict[str, Any]) -> str | None:
    """The setting that makes an ablation its whole method again: `weights=adaptive` of qmul_no_agr."""
    whole = name.partition(ABLATED)[0]
    if whole == name:
        return None
    ablated, complete = METHODS[name].params.model_fields, METHODS[whole].params.model_fields
    undone = (o for o, v in values.items() if ablated[o].default != complete[o].default == v)
    return next((f"{option}={text_of(values[option])}" for option in undone), None)
