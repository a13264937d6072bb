"""Where features of images to forget are moved to: places that only retained images say anything about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from core.data import Images
from core.lazy import Tensor, torch

Target = Literal["mean", "pair", "centroid"]


class Targets(NamedTuple):
    """rows: features RD. row_of: that of each image to forget, N. scale: mean squared norm of retained features."""

    rows: Tensor
    row_of: Tensor
    scale: Tensor


def feature_targets(
    target: Target, seen: Callable[[Images], Tensor], forget: Images, retain: Images, seed: int
) -> Targets:
    """The targets of the images to forget.

    Args:
        target: mean of all retained images; pair, a retained image of another class for each, drawn; or
            centroid, the mean of the own class or, if none of it is retained, of the nearest class.
        seen: the features of images, ND.
        forget, retain: the two sets.
        seed: of the pairs.
    """
    kept_ND = seen(retain)
    scale = kept_ND.square().sum(1).mean()
    if target == "mean":
        return Targets(kept_ND.mean(0, keepdim=True), torch.zeros_like(forget.labels), scale)
    if target == "pair":
        own = torch.Generator().manual_seed(seed)
        return Targets(kept_ND, of_another_class(forget.labels, retain.labels, own), scale)
    labels_K, index_N = torch.unique(retain.labels, return_inverse=True)
    centres_KD = group_means(kept_ND, index_N, len(labels_K))
    return Targets(centres_KD, nearest_centroid(seen(forget), forget.labels, centres_KD, labels_K), scale)


def of_another_class(labels_N: Tensor, kept_M: Tensor, generator: torch.Generator) -> Tensor:
    """For each label the position of a kept one that differs, uniformly; int64 N. Some other one must be kept."""
    sorted_M, position_M = kept_M.sort(stable=True)
    first_N, last_N = (
        torch.searchsorted(sorted_M, labels_N),
        torch.searchsorted(sorted_M, labels_N, right=True),
    )
    others_N = len(kept_M) - (last_N - first_N)
    draws_N = torch.rand(len(labels_N), generator=generator, dtype=torch.float64).to(labels_N.device)
    place_N = (draws_N * others_N).long()
    return position_M[torch.where(place_N < first_N, place_N, place_N + last_N - first_N)]


def group_means(x_ND: Tensor, index_N: Tensor, groups: int) -> Tensor:
    """Mean of the rows of each group, in float32; no group is empty."""
    member_GN = torch.nn.functional.one_hot(index_N, groups).to(x_ND.dtype).T
    return member_GN @ x_ND / member_GN.sum(1, keepdim=True)


def nearest_centroid(seen_ND: Tensor, labels_N: Tensor, centres_KD: Tensor, labels_K: Tensor) -> Tensor:
    """The row of the own class's centre; of a class without one, that nearest to the mean of its images."""
    found_C, index_N = torch.unique(labels_N, return_inverse=True)
    near_C = torch.cdist(group_means(seen_ND, index_N, len(found_C)), centres_KD).argmin(1)
    own_C = torch.searchsorted(labels_K, found_C).clamp(max=len(labels_K) - 1)
    return torch.where(labels_K[own_C] == found_C, own_C, near_C)[index_N]
