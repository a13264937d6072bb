"""Batches: augmentation against a loop over images, normalisation, and that every image comes exactly once."""

import pytest
import torch
from scipy.stats import binomtest, chisquare

from core.data.loader import Images, Transform, batches, concat, plain_batches
from tests.core.toy_problem import AUGMENTING, PLAIN, seeded

CPU = torch.device("cpu")


def numbered(count, size=6):
    """Images that can be told apart: image i is labelled i."""
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=seeded(1)).to(torch.uint8)
    return Images(pixels, torch.arange(count))


def cropped_and_flipped(image_CHW, padding, dy, dx, flipped):
    """The reference: pad with zeros, crop, then mirror."""
    C, H, W = image_CHW.shape
    big = torch.zeros((C, H + 2 * padding, W + 2 * padding), dtype=image_CHW.dtype)
    big[:, padding : padding + H, padding : padding + W] = image_CHW
    crop = big[:, dy : dy + H, dx : dx + W]
    return crop.flip(2) if flipped else crop


@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_augmentation_equals_a_loop_over_the_images(size, padding):
    pixels = torch.randint(1, 256, (40, 3, *size), generator=seeded()).to(torch.uint8)
    transform = Transform((0.5,) * 3, (0.25,) * 3, crop_padding=padding, flip=True)
    draws = transform.draw(40, seeded(2), CPU)
    found = transform.augment(pixels, draws)
    assert found.dtype == torch.uint8
    for image, (dy, dx, flipped), got in zip(pixels, draws.tolist(), found, strict=True):
        assert torch.equal(got, cropped_and_flipped(image, padding, dy, dx, flipped))


def test_what_comes_from_outside_the_image_is_zero():
    transform = Transform((0.5,) * 3, (0.25,) * 3, crop_padding=2)
    pixels = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    corner = transform.augment(pixels, torch.tensor([[0, 0, 0]]))[0, 0]
    assert corner.tolist() == [[0] * 4, [0] * 4, [0, 0, 255, 255], [0, 0, 255, 255]]


def test_the_centre_crop_is_the_image():
    images = numbered(3)
    transform = Transform((0.5,) * 3, (0.25,) * 3, crop_padding=4)
    assert torch.equal(transform.augment(images.pixels, torch.tensor([[4, 4, 0]] * 3)), images.pixels)


def test_draws_are_fair():
    """Half of the images are mirrored, every shift is as likely as any other."""
    transform = Transform((0.5,) * 3, (0.25,) * 3, crop_padding=4, flip=True)
    draws = transform.draw(20_000, seeded(3), CPU)
    assert binomtest(int(draws[:, 2].sum()), 20_000, 0.5).pvalue > 1e-3
    for axis in (0, 1):
        counts = draws[:, axis].bincount()
        assert len(counts) == 9
        assert chisquare(counts.numpy()).pvalue > 1e-3


def test_without_flip_nothing_is_mirrored():
    draws = Transform((0.5,) * 3, (0.25,) * 3, crop_padding=1).draw(500, seeded(), CPU)
    assert int(draws[:, 2].sum()) == 0


def test_augments_says_whether_training_images_differ():
    assert not PLAIN.augments
    assert AUGMENTING.augments
    assert Transform((0.5,) * 3, (0.25,) * 3, flip=True).augments


def test_normalisation_is_per_channel_on_pixels_scaled_to_one():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    pixels = numbered(4).pixels
    found = Transform(mean, std).normalise(pixels)
    reference = (pixels.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(found.double(), reference, atol=1e-5, rtol=1e-5)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_normalising_leaves_the_pixels_alone():
    images = numbered(4)
    before = images.pixels.clone()
    PLAIN.normalise(images.pixels)
    assert torch.equal(images.pixels, before)


@pytest.mark.parametrize("size", [1, 7, 20, 64])
def test_one_pass_covers_every_image_exactly_once(size):
    images = numbered(20)
    found = list(batches(images, size, AUGMENTING, seeded()))
    labels = torch.cat([b.labels for b in found])
    assert sorted(labels.tolist()) == list(range(20))
    assert [len(b.labels) for b in found] == [min(size, 20 - i) for i in range(0, 20, size)]
    assert labels.tolist() != list(range(20))


def test_images_keep_their_label_and_weight_through_shuffling():
    images = numbered(20).weighted(torch.arange(20) / 10)
    for batch in batches(images, 6, AUGMENTING, seeded(), augment=False):
        assert torch.equal(batch.images, PLAIN.normalise(images.pixels[batch.labels]))
        assert torch.equal(batch.weights, batch.labels / 10)


def test_augmented_batches_hold_crops_of_their_own_image():
    images = numbered(12)
    for batch in batches(images, 5, AUGMENTING, seeded()):
        for got, label in zip(batch.images, batch.labels, strict=True):
            every = [
                cropped_and_flipped(images.pixels[label], 1, dy, dx, f)
                for dy in range(3)
                for dx in range(3)
                for f in (False, True)
            ]
            assert any(torch.equal(PLAIN.normalise(one[None])[0], got) for one in every)


def test_the_same_generator_gives_the_same_batches_and_the_next_pass_others():
    images = numbered(20)
    generator = seeded(4)
    first, second = (list(batches(images, 8, AUGMENTING, generator)) for _ in range(2))
    again = list(batches(images, 8, AUGMENTING, seeded(4)))
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].labels, second[0].labels)


def test_the_global_generator_has_no_influence():
    images = numbered(20)
    torch.manual_seed(0)
    first = [b.labels for b in batches(images, 8, AUGMENTING, seeded())]
    torch.manual_seed(1)
    assert all(
        torch.equal(a, b.labels) for a, b in zip(first, batches(images, 8, AUGMENTING, seeded()), strict=True)
    )


def test_plain_batches_come_in_order_and_unaugmented():
    images = numbered(20).weighted(0.5)
    found = list(plain_batches(images, 8, AUGMENTING))
    assert torch.cat([b.labels for b in found]).tolist() == list(range(20))
    assert torch.equal(torch.cat([b.images for b in found]), PLAIN.normalise(images.pixels))
    assert set(torch.cat([b.weights for b in found]).tolist()) == {0.5}


def test_selecting_relabelling_and_weighting_return_new_values():
    images = numbered(5)
    assert images.select(torch.tensor([3, 1])).labels.tolist() == [3, 1]
    assert torch.equal(images.select(torch.tensor([3])).pixels[0], images.pixels[3])
    assert images.relabelled(torch.zeros(5, dtype=torch.int64)).labels.tolist() == [0] * 5
    assert images.weighted(0.25).weights.tolist() == [0.25] * 5
    assert images.weighted(0.25).select(torch.tensor([0])).weights.tolist() == [0.25]
    assert images.labels.tolist() == list(range(5))
    assert images.weights is None
    assert len(images) == 5


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 3, 6]), (4, [0, 2, 5, 7]), (10, range(10)), (11, range(10))]
)
def test_evenly_takes_so_many_from_the_first_on(count, expected):
    assert numbered(10).evenly(count).labels.tolist() == list(expected)


def test_concatenation_keeps_order_and_weights():
    a, b = numbered(2).weighted(0.1), numbered(3).weighted(0.9)
    both = concat(a, b)
    assert both.labels.tolist() == [0, 1, 0, 1, 2]
    assert both.weights.tolist() == pytest.approx([0.1, 0.1, 0.9, 0.9, 0.9])
    assert torch.equal(both.pixels, torch.cat([a.pixels, b.pixels]))
    assert concat(numbered(2), numbered(3)).weights is None
