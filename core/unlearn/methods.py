"""The methods. Adding one is a file with its function and `METHOD`, and a line here."""

from __future__ import annotations

from core.errors import BadInput, unknown
from core.registry import Registry
from core.unlearn import (
    amnesiac,
    arcane,
    bad_teacher,
    certified,
    ct,
    delete,
    erm_ktp,
    finetune,
    gradient_ascent,
    influence,
    l1_sparse,
    label_flip,
    lwsf,
    mnemonic,
    mnemonic_finetune,
    msg,
    neggrad,
    ntk,
    partial_ascent,
    qmul,
    qmul_no_agr,
    qmul_no_sl,
    random_labels,
    retrain,
    rfa_lora,
    salun,
    scrub,
    sfdn,
    sfron,
    sisa,
    ssd,
    unsir,
    zero_shot,
)
from core.unlearn.base import Method

_HERE: dict[str, Method] = {
    "retrain": retrain.METHOD,
    "ft": finetune.METHOD,
    "ga": gradient_ascent.METHOD,
    "iu": influence.METHOD,
    "rl": random_labels.METHOD,
    "l1_sparse": l1_sparse.METHOD,
    "salun": salun.METHOD,
    "qmul": qmul.METHOD,
    "qmul_no_sl": qmul_no_sl.METHOD,
    "qmul_no_agr": qmul_no_agr.METHOD,
    "ssd": ssd.METHOD,
    "sfdn": sfdn.METHOD,
    "scrub": scrub.METHOD,
    "bad_teacher": bad_teacher.METHOD,
    "unsir": unsir.METHOD,
    "label_flip": label_flip.METHOD,
    "partial_ascent": partial_ascent.METHOD,
    "rfa_lora": rfa_lora.METHOD,
    "mnemonic": mnemonic.METHOD,
    "mnemonic_ft": mnemonic_finetune.METHOD,
    "amnesiac": amnesiac.METHOD,
    "neggrad": neggrad.METHOD,
    "msg": msg.METHOD,
    "ct": ct.METHOD,
    "sfron": sfron.METHOD,
    "delete": delete.METHOD,
    "sisa": sisa.METHOD,
    "certified": certified.METHOD,
    "ntk": ntk.METHOD,
    "zero_shot": zero_shot.METHOD,
    "lwsf": lwsf.METHOD,
    "erm_ktp": erm_ktp.METHOD,
    "arcane": arcane.METHOD,
}

ABLATED = "_no_"  # between a method's name and the part that an ablation leaves out


def unknown_method(name: str) -> BadInput:
    """The error for a name outside METHODS; an ablation of a method without any names those there are.

    >>> unknown_method("ft_no_sl").args[0]
    "method 'ft_no_sl': ft has no ablation; qmul has qmul_no_sl and qmul_no_agr"
    """
    ablations: dict[str, list[str]] = {}
    for ablation in (known for known in METHODS if ABLATED in known):
        ablations.setdefault(ablation.partition(ABLATED)[0], []).append(ablation)
    whole, ablated, _ = name.partition(ABLATED)
    if not ablated or whole not in _HERE or whole in ablations:
        return unknown("method", name, METHODS.names())
    having = "; ".join(f"{owner} has {' and '.join(names)}" for owner, names in ablations.items())
    return BadInput(f"method '{name}': {whole} has no ablation; {having}")


METHODS = Registry("method", Method, "unlearn_grid.methods", _HERE, error=unknown_method)
