"""What a test transform does to probe images is recovered exactly, or named for what it is."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from autograder.judging.evidence import Sample, Samples
from autograder.judging.normalisation import NotANormalisation, recover_normalisation
from autograder.judging.probe_images import KINDS, probe_image

SECRET = b"a secret for tests"
FLOAT = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


def sample(transform, kind, draws=4):
    image = probe_image(kind, SECRET, "cnn")
    outputs = [torch.as_tensor(transform(Image.fromarray(image))) for _ in range(draws)]
    described = [
        Sample("tensor", str(o.dtype).removeprefix("torch."), tuple(o.shape), o.float().numpy()) for o in outputs
    ]
    return Samples(described, image)


def recover(transform, seed=0):
    torch.manual_seed(seed)
    return recover_normalisation("test_transform", {kind: sample(transform, kind) for kind in KINDS})


@pytest.mark.parametrize(
    ("transform", "mean", "std"),
    [
        (v2.Compose([*FLOAT, v2.Normalize([0.5] * 3, [0.5] * 3)]), [0.5] * 3, [0.5] * 3),
        (
            v1.Compose([v1.ToTensor(), v1.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))]),
            [0.4914, 0.4822, 0.4465],
            [0.247, 0.2435, 0.2616],
        ),
        (v1.ToTensor(), [0] * 3, [1] * 3),
        (v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)]), [0] * 3, [1 / 255] * 3),
        (lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1, [0.5] * 3, [0.5] * 3),
        (v2.Compose([*FLOAT, v2.Normalize([0.5] * 3, [0.25] * 3), v2.ToDtype(torch.float16)]), [0.5] * 3, [0.25] * 3),
        (v1.Compose([v1.Resize(32), v1.CenterCrop(32), v1.ToTensor()]), [0] * 3, [1] * 3),
    ],
    ids=["v2", "v1", "ToTensor", "0 to 255", "hand-written", "half precision", "resize to the same size"],
)
def test_scale_and_shift_are_recovered(transform, mean, std):
    found = recover(transform)
    np.testing.assert_allclose(found.scale, 1 / np.array(std), rtol=1e-3)
    np.testing.assert_allclose(found.shift, -np.array(mean) / np.array(std), rtol=1e-3, atol=1e-3)


def standardise(image):
    x = v1.ToTensor()(image)
    return (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (standardise, "each image by its own"),
        (v1.Compose([v1.Grayscale(3), v1.ToTensor()]), "mixes the colour channels"),
        (lambda image: v1.ToTensor()(image)[[2, 1, 0]], "exchanges the colour channels"),
        (v2.Compose([*FLOAT, v2.RandomHorizontalFlip(p=1)]), "mirrors"),
        (v2.Compose([*FLOAT, v2.RandomVerticalFlip(p=1)]), "upside down"),
        (lambda image: v1.ToTensor()(image) ** 2.2, "along a curve"),
        (v2.Compose([*FLOAT, v2.GaussianBlur(3, sigma=1.0)]), "depends on other pixels"),
        (v1.Compose([v1.Resize(24), v1.Resize(32), v1.ToTensor()]), "depends on other pixels"),
        (v1.Compose([v1.Resize(64), v1.ToTensor()]), "expected \\(3, 32, 32\\), got \\(3, 64, 64\\)"),
        (v1.Compose([v1.Grayscale(1), v1.ToTensor()]), "greyscale"),
        (v1.Compose([v1.RandomCrop(32, padding=4), v1.ToTensor()]), "varies"),
        (lambda image: torch.full((3, 32, 32), 0.5), "same value for every pixel"),
        (lambda image: v1.ToTensor()(image) / 0, "NaN"),
    ],
)
def test_anything_else_is_named(transform, message):
    with pytest.raises(NotANormalisation, match=message):
        recover(transform)


def test_a_random_flip_does_not_hide_the_normalisation():
    found = recover(v2.Compose([*FLOAT, v2.RandomHorizontalFlip(p=0.5), v2.Normalize([0.5] * 3, [0.5] * 3)]), seed=2)
    np.testing.assert_allclose(found.scale, [2, 2, 2], rtol=1e-4)


def test_an_output_that_is_no_tensor_is_named():
    samples = {kind: Samples([Sample("Image", "", (), None)], probe_image(kind, SECRET)) for kind in KINDS}
    with pytest.raises(NotANormalisation, match="must give a tensor, it gives Image"):
        recover_normalisation("test_transform", samples)


def test_probe_images_are_secret_stable_and_as_described():
    for kind in KINDS:
        image = probe_image(kind, SECRET, "cnn")
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert np.array_equal(image, probe_image(kind, SECRET, "cnn"))
        assert not np.array_equal(image, probe_image(kind, b"another secret", "cnn"))
        for turned in (image[:, ::-1], image[::-1], image[::-1, ::-1], image.transpose(1, 0, 2), image[..., ::-1]):
            assert not np.array_equal(image, turned)
    full = probe_image("full_range", SECRET, "cnn")
    assert all(set(full[..., channel].ravel()) == set(range(256)) for channel in range(3))
    with pytest.raises(ValueError, match="no probe image 'blue'"):
        probe_image("blue", SECRET)
