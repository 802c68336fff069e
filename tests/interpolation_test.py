"""Ways between latents, as pictures and as videos."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from in_process import contents, genjax, refusal
from PIL import Image

from genjax.config import GANSampling
from genjax.domains.video import save_video
from genjax.run.interpolation import Way, interpolate_run, slerp
from genjax.run.sampling import sample_run


def test_slerp():
    a, b = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])
    for share in (0.0, 0.25, 1.0):
        angle = share * np.pi / 2
        wanted = [[2 * np.cos(angle), np.sin(angle)]]
        np.testing.assert_allclose(slerp(a, b, share), wanted, atol=1e-6)
    # Of the same direction: the straight line.
    np.testing.assert_allclose(slerp(a, 2 * a, 0.5), 1.5 * a, atol=1e-5)
    np.testing.assert_allclose(slerp(0 * a, b, 0.5), 0.5**0.5 * b, atol=1e-5)


def test_a_way_leads_from_sample_to_sample(plain_run):
    way = Way(rows=2, keys=3, steps=2, space=None, closed=False)
    made = interpolate_run(plain_run, 5, "last", way, label=3)
    assert made.space == "z"
    assert made.frames.shape == (5, 2, 8, 8, 1)
    samples = sample_run(plain_run, 5, "last", 6, label=3).samples.reshape(2, 3, 8, 8, 1)
    passed = made.frames[::2].swapaxes(0, 1)
    assert np.abs(np.int32(passed) - samples).max() <= 1
    between = made.frames[1::2]
    assert np.abs(np.int32(between) - made.frames[:-1:2]).max() > 0


def test_a_closed_way_comes_back(styled_run):
    options = GANSampling(noise="none")
    frames = {
        space: interpolate_run(styled_run, 1, "last", Way(1, 2, 4, space, True), sampling=options)
        for space in ("z", "w", None)
    }
    assert frames[None].space == "w"
    np.testing.assert_array_equal(frames[None].frames, frames["w"].frames)
    z, w = frames["z"].frames, frames["w"].frames
    assert len(z) == len(w) == 8
    # Both pass the same samples, there and back by the same way, but are elsewhere in between.
    for made in (z, w):
        assert np.abs(np.int32(made[1:4]) - made[:4:-1]).max() <= 1
    assert np.abs(np.int32(z[[0, 4]]) - w[[0, 4]]).max() <= 1
    assert np.abs(np.int32(z[2]) - w[2]).max() > 1


def test_pictures_and_videos(plain_run, styled_run, tmp_path):
    outcome = genjax("interpolate", styled_run, "--rows", 2, "--frames", 3, "--psi", 0.7)
    assert outcome.status == 0, outcome
    assert outcome.out.startswith("wrote 2 ways of 4 images in w, step 2, seed 0, to ")
    picture = Image.open(styled_run / "interpolation.png")
    assert picture.width > picture.height
    file = tmp_path / "way.gif"
    flags = ("--rows", 4, "--frames", 3, "--keys", 2, "--rate", 10, "--out", file)
    assert genjax("interpolate", plain_run, *flags).status == 0
    with Image.open(file) as video:
        assert video.n_frames == 6
        assert video.info["duration"] == 100
    assert set(contents(tmp_path)) == {"way.gif"}


@pytest.mark.filterwarnings("ignore:os.fork")
def test_an_mp4_has_the_frames(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra genjax-models[video]")
    grey = [np.full((33, 47, 1), 40 * number, np.uint8) for number in range(5)]
    save_video(tmp_path / "a.mp4", grey, 8)
    reader = ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    facts = next(reader)
    assert (facts["size"], facts["fps"]) == ((48, 34), 8)
    shades = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(shades, [0, 40, 80, 120, 160], atol=4)
    assert set(contents(tmp_path)) == {"a.mp4"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--space", "w"), "--space is w, which this model does not have; choices: z"),
        (("--psi", 0.5), "--psi is 0.5, but this generator has no styles"),
        (("--out", "way.avi"), "videos end in .gif or .mp4"),
        (("--keys", 1), "--keys is 1; it must be at least 2"),
        (("--rate", 0), "--rate is 0; it must be at least 1"),
        (("--label", 11), "--label is 11; classes of this model"),
    ],
)
def test_what_is_refused(plain_run, flags, said):
    before = set(contents(plain_run))
    assert said in refusal("interpolate", plain_run, *flags)
    assert set(contents(plain_run)) == before


def test_an_mp4_without_its_encoder_is_refused(plain_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    said = refusal("interpolate", plain_run, "--out", tmp_path / "way.mp4")
    assert "needs an encoder: pip install 'genjax-models[video]', or write a .gif" in said
