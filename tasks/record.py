"""The one row schema of the results: a finished or failed node, as pydantic model and as Parquet."""

import hashlib
import io
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core.errors import BadInput

# 2 has step_drift, 3 epochs and peak_memory, 4 ef and distances, 5 scores and scored, 6 shadow and precision
SCHEMA_VERSION = 6


DECIDED_ALIKE = "decided_alike"  # images on which an exported network decides as it did before, in percent


class Newer(BadInput):
    """A row, or a store, of a later version of the schema; nothing is wrong with it."""


def refuse_newer(version: object, where: str) -> None:
    """Raises Newer for a schema version beyond ours, such as 7 where this is 6."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise Newer(
            f"{where} was written by a newer unlearn-grid (row schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): update unlearn-grid, or choose another store with --store"
        )


class EpochFact(BaseModel):
    """One number of one epoch: a point of a curve."""

    epoch: int
    name: str
    value: float


class Score(BaseModel):
    """A metric that has no column of its own in the schema, by the name of its column; None: it has no value here."""

    name: str
    value: float | None


class Candidate(BaseModel):
    """One trial as its cell's selection saw it: its evaluation's key and its gaps to Retrain."""

    evaluation: str
    ag: float
    ag_validation: float


class Record(BaseModel):
    """One row. Figures are percentages; what does not apply to a node's kind is None.

    fa, ra, ta, mia: forget, retain and test accuracy, and the attack with test images as non-members.
    va, mia_validation: the same two on validation images, which selection reads by default.
    ef: error on test images of the forgotten class (E_F; A_R is ta, which leaves that class out).
    activation_…, js_…: of a selected model, mean L2 distance and Jensen-Shannon divergence of its
    probabilities to Retrain's on a sample of the forget, retain and test images (see `core.metrics.outputs`).
    ag, ag_validation: average gap to Retrain, on an evaluation that was selected.
    seconds: of the method itself. node_seconds: of the whole node. flip_rate: share (0-1) of integer weight
    codes changed against the original. step_drift: mean relative change of the learned step sizes against the
    original (0.1 is 10 %). epochs: that a model was trained or unlearned for; of a search or selection, those
    of all its trials together. peak_memory: bytes that the allocator reserved on the GPU at most, what the worker
    keeps warm included. gpu_share: share (0-1) of that GPU's memory the node was held to; below 1 others may have
    worked on it at the same time, and its seconds are those of a shared GPU. precision: what a training's steps were
    computed in, float32 or bfloat16 (autocast), and "integer forward" where layers computed on codes; of an evaluation
    that of its model. model: the node an evaluation looked at. selected, reference: evaluations. scores: figures of
    metrics without a field here, which came to `core.metrics.METRICS` later or from outside; of an audit,
    everything it measured, with floors. scored: of a score, or an exported network's evaluation, the evaluation or
    selection that it is about. shadow: the number of a model that an audit alone is about; its other coordinates
    are those of the problem that is audited.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    key: str
    kind: str
    status: str = "done"
    dataset: str | None = None
    arch: str | None = None
    quant: str | None = None
    scenario: str | None = None
    amount: float | None = None
    method: str | None = None
    seed: int | None = None
    protocol: str | None = None
    select_on: str | None = None
    params: str | None = None
    tried: str | None = None
    fa: float | None = None
    ra: float | None = None
    ta: float | None = None
    mia: float | None = None
    va: float | None = None
    mia_validation: float | None = None
    ef: float | None = None
    activation_forget: float | None = None
    activation_retain: float | None = None
    activation_test: float | None = None
    js_forget: float | None = None
    js_retain: float | None = None
    js_test: float | None = None
    ag: float | None = None
    ag_validation: float | None = None
    forget_count: int | None = None
    retain_count: int | None = None
    test_count: int | None = None
    seconds: float | None = None
    node_seconds: float | None = None
    flip_rate: float | None = None
    step_drift: float | None = None
    epochs: int | None = None
    peak_memory: int | None = None
    gpu_share: float | None = None
    precision: str | None = None
    model: str | None = None
    selected: str | None = None
    reference: str | None = None
    scored: str | None = None
    shadow: int | None = None
    scores: list[Score] | None = None
    candidates: list[Candidate] | None = None
    curve: list[EpochFact] | None = None
    error_kind: str | None = None
    error_message: str | None = None
    log: str | None = None
    code_revision: str | None = None
    hardware: str | None = None
    versions: str | None = None
    finished_at: datetime | None = None

    def figures(self, names: Collection[str]) -> dict[str, float | None]:
        """Those of the named columns of metrics that the row has an entry for, if only to say that there is none."""
        scores = {score.name: score.value for score in self.scores or ()}
        found = {name: getattr(self, name) for name in names if name in Record.model_fields}
        return found | {name: scores[name] for name in names if name in scores}


def figure_fields(figures: Mapping[str, float | None]) -> dict[str, Any]:
    """Figures by column as the fields that a row keeps them in: some have one each, the others are `scores`."""
    own = {name: value for name, value in figures.items() if name in Record.model_fields}
    others = [Score(name=name, value=value) for name, value in figures.items() if name not in own]
    return own | ({"scores": others} if others else {})


_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
_TYPES: dict[str, pa.DataType] = {
    "schema_version": _WHOLE,
    "seed": _WHOLE,
    "shadow": _WHOLE,
    "forget_count": _WHOLE,
    "retain_count": _WHOLE,
    "test_count": _WHOLE,
    "epochs": _WHOLE,
    "peak_memory": _WHOLE,
    "candidates": pa.list_(
        pa.struct([("evaluation", _TEXT), ("ag", _REAL), ("ag_validation", _REAL)])
    ),
    "scores": pa.list_(pa.struct([("name", _TEXT), ("value", _REAL)])),
    "curve": pa.list_(pa.struct([("epoch", _WHOLE), ("name", _TEXT), ("value", _REAL)])),
    "finished_at": pa.timestamp("us", tz="UTC"),
} | dict.fromkeys(
    ("amount", "fa", "ra", "ta", "mia", "va", "mia_validation", "ag", "ag_validation", "seconds",
     "node_seconds", "flip_rate", "step_drift", "gpu_share", "ef", "activation_forget", "activation_retain",
     "activation_test", "js_forget", "js_retain", "js_test"),
    _REAL,
)  # fmt: skip

SCHEMA = pa.schema([(name, _TYPES.get(name, _TEXT)) for name in Record.model_fields])


def to_parquet(record: Record) -> bytes:
    """One row as a Parquet file of the declared schema, with the digest of the row among its key-value metadata."""
    table = pa.Table.from_pylist([record.model_dump()], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_DIGEST: _digest(table.to_pylist())}), buffer, write_page_checksum=True
    )
    return buffer.getvalue()


def from_parquet(data: bytes) -> list[dict[str, Any]]:
    """The rows of a part or of a file of merged rows; ValueError if the bytes are not one, or not as written.

    Parquet's checksums cover pages of values but neither columns' names nor counts; the digest, which parts have
    since there are such, covers what is read.
    """
    try:
        table = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()
        rows: list[dict[str, Any]] = table.to_pylist()
        named = (table.schema.metadata or {}).get(_DIGEST)
    except Exception as error:  # what a broken file makes pyarrow raise is not only its own exceptions
        raise ValueError(f"no readable Parquet file: {' '.join(str(error).split()):.160}") from error
    if named is not None and named != _digest(rows):
        raise ValueError("its row is not the one that was written")
    return rows


_DIGEST = b"rows_sha256"


def _digest(rows: list[dict[str, Any]]) -> bytes:
    """Over what the rows say; columns without a value do not count, which other versions have others of."""
    said = [{name: value for name, value in row.items() if value is not None} for row in rows]
    text = json.dumps(said, sort_keys=True, default=_iso)
    return hashlib.sha256(text.encode()).hexdigest().encode()


def _iso(value: Any) -> str:
    return str(value.isoformat())
