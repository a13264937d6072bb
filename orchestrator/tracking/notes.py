"""What MLflow shows in words: a note on each run and on the experiment, in Markdown."""

import json

from orchestrator.spec import GridSpec, start_caveats, titles
from orchestrator.tracking.client import Data
from tasks import Node
from tasks.store import Manifest

NOTE = "mlflow.note.content"
_DIGEST = 16  # characters: the UI shows the digest beside the name

# Filters of the UI's search box, with what each shows; the README has the same.
FILTERS = {
    "tags.kind = 'cell'": "one line for each method, its selected trial's figures: the paper's tables",
    "tags.kind = 'trial'": "every trial",
    "tags.method = 'qmul' and tags.selected = 'true'": "the selected trials of one method",
    "tags.kind = 'trial' and tags.method = 'qmul' and metrics.ag < 10": "what a method tried, and came near",
    "tags.amount = '0.1' and tags.quant = '4w4a' and tags.kind = 'cell'": "one problem",
    "tags.dataset = 'digits' and metrics.fa_gap < 5 and metrics.ra_gap < 1": "close in forgetting and retaining",
    "attributes.status = 'FAILED'": "trials that failed; the tag error_message says why",
}


def experiment_note(spec: GridSpec) -> str:
    """What the experiment is and how to read it."""
    filters = "\n".join(f"- `{query}`: {what}" for query, what in FILTERS.items())
    return f"""**Grid {spec.recipe}**: machine unlearning on quantized networks.

One run for each cell (`tags.kind = 'cell'`), below it one for each trial (`'trial'`). FA, RA, TA, MIA are percentages
on forgotten, retained and test images and of the attack; `fa_gap` … `mia_gap` are distances to Retrain's in
percentage points, `ag` is their mean, and smaller is better. The smallest is not by that alone the best: the report
says which can be told apart from it, and from the untouched original. `seconds` is the run time of unlearning. Curves
are the metrics `epoch/…`.

Filters for the search box:

{filters}

The mirror is read-only: the truth is the store's Parquet rows, and `python -m orchestrator.grid sync` writes what is
missing here.
"""


def run_note(spec: GridSpec, node: Node, store: str, weights: str | None) -> str:
    """What a run is, where its weights lie if they were kept, and how to go on from here."""
    i = node.inputs
    what = titles.title(i["method"])
    if "tried" in i:
        what += f" with {titles.hyper_parameters(i['tried'])}"
    kept = [f"- weights: `{weights}`"] if weights else []
    kept += [f"- {caveat}." for caveat in start_caveats(spec, i["arch"])]
    lines = [
        f"**{what}** on {titles.title(i['dataset'])}, {titles.title(i['arch'])}"
        f" {i['quant']}, {titles.scenario(i['scenario'], i['amount'])} forgotten, seed {i['seed']};"
        f" grid {spec.recipe}.",
        "",
        *kept,
        f"- report: `python -m orchestrator.grid report --store {store}`",
        f"- run what is missing: `python -m orchestrator.grid run --store {store}`",
    ]
    return "\n".join(lines)


def data_entity(node: Node, found: Manifest) -> Data:
    """A data node's images: name, digest of the decoded images, and how many there are."""
    place = {"dataset": node.inputs["dataset"], "limit": node.inputs.get("limit")}
    source = {"source": found.facts["source"]} if "source" in found.facts else {}  # older stores lack it
    counts = {"training_images": found.record.retain_count, "test_images": found.record.test_count}
    return Data(
        node.inputs["dataset"],
        str(found.facts["digest"])[:_DIGEST],
        json.dumps(place | source),
        json.dumps(counts | {"classes": found.facts["classes"]}),
    )
