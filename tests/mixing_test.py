"""`genjax mix`: samples of several styles."""

from pathlib import Path

import numpy as np
from in_process import contents, genjax, refusal
from PIL import Image

from genjax.config import GANSampling
from genjax.run.mixing import mix_run
from genjax.run.sampling import sample_run

POINTS = Path(__file__).parent / "fixtures" / "runs" / "format-3" / "points"


def near(a, b):
    return np.abs(np.int32(a) - b).max() <= 1


def test_layers_are_those_of_the_sample_on_top(styled_run):
    options = GANSampling(noise="none")
    samples = sample_run(styled_run, 3, "last", 5, sampling=options).samples
    for layers, like in (((0, 3), "top"), ((1, 2), None)):
        grid, used, step = mix_run(styled_run, 3, "last", 2, 3, layers, sampling=options)
        assert (used, step, grid.shape) == (layers, 2, (3, 4, 8, 8, 1))
        assert not grid[0, 0].any()
        assert near(grid[1:, 0], samples[:2])
        assert near(grid[0, 1:], samples[2:])
        for row in (1, 2):
            # All layers of it are that sample; some are neither.
            assert near(grid[row, 1:], samples[2:]) == (like == "top")
            assert not near(grid[row, 1:], np.repeat(samples[row - 1 : row], 3, axis=0))
    (_, used, _) = mix_run(styled_run, 3, "last", 1, 1, None)
    assert used == (0, 1)


def test_command(styled_run, tmp_path):
    file = tmp_path / "mixed.png"
    flags = ("--rows", 2, "--columns", 3, "--psi", 0.7, "--out", file)
    outcome = genjax("mix", styled_run, *flags)
    assert outcome.status == 0, outcome
    said = "wrote 2 x 3 samples of step 2 with layers 0 to 1 of those on top to "
    assert outcome.out.startswith(said)
    picture = Image.open(file)
    assert picture.width > picture.height


def test_what_is_refused(styled_run, plain_run, tmp_path):
    before = set(contents(styled_run))
    said = refusal("mix", styled_run, "--layers", 1, 4)
    assert "--layers is 1 4; this generator has the layers 0 to 3" in said
    assert "--rows is 0; it must be at least 1" in refusal("mix", styled_run, "--rows", 0)
    assert set(contents(styled_run)) == before
    assert "has no styles to mix; genjax interpolate" in refusal("mix", plain_run)
    assert "makes points, and styles are those of images alone" in refusal("mix", POINTS)
    assert "is not a folder; give the folder of a run" in refusal("mix", tmp_path / "none")
