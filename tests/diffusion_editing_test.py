"""Editing by diffusion models: against known Gaussians, by networks, and from the command line."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import CONFIGS, course_of, exact, moved, problem, start_of
from in_process import contents, genjax, refusal
from PIL import Image
from specs import image_spec

from genjax.config import (
    SGD,
    DenoisingMLP,
    DiffusionConfig,
    DiffusionSampling,
    Straight,
    Uniform,
)
from genjax.errors import UserError
from genjax.families.diffusion import editing, solvers
from genjax.families.diffusion.algorithm import make_diffusion

MEAN = np.array([0.3, -0.2, 0.1, 0.4])
COVARIANCE = np.array(
    [[0.5, 0.4, 0.2, 0.1], [0.4, 0.6, 0.3, 0.1], [0.2, 0.3, 0.4, 0.2], [0.1, 0.1, 0.2, 0.3]]
)
"""Of data of four numbers."""
KNOWN = np.array([True, False, True, False])
DATA = np.array([1.0, 0.0, -0.5, 0.0])


def normal_problem(name, options, count, key=None):
    """Of the Gaussian, ``D = m + alpha C (alpha^2 C + sigma^2)^-1 (x_t - alpha m)``."""
    course = course_of(name)

    def estimate(x, t):
        alpha, sigma = course.scales(t)
        whole = alpha**2 * COVARIANCE + sigma**2 * jnp.eye(4)
        return MEAN + alpha * jnp.linalg.solve(whole, (x - alpha * MEAN).T).T @ COVARIANCE

    def noise(number):
        return jax.random.normal(jax.random.fold_in(key, number), (count, 4))

    grid = solvers.times(CONFIGS[name], options, start_of(name))
    return solvers.Problem(course, grid, estimate, noise, options)


def scales_of(solved):
    return [tuple(float(x) for x in solved.course.scales(jnp.float64(t))) for t in solved.grid]


def slope_of(alpha, sigma):
    """``dD / dx_t``, which is symmetric."""
    return alpha * COVARIANCE @ np.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * np.eye(4))


def best(x, alpha, sigma):
    return MEAN + (x - alpha * MEAN) @ slope_of(alpha, sigma)


# ---- step by step ----


def test_the_walk_is_the_papers():
    """``get_schedule_jump`` of the authors' code, with t of 4, 3, ..., -1 as places 0 to 5."""
    places = [4, 3, 2, 4, 3, 2, 1, 0, 2, 1, 0, -1]
    moves = editing.walk(5, 2, 2)
    np.testing.assert_array_equal(moves, 4 - np.stack([places[:-1], places[1:]], axis=1))
    np.testing.assert_array_equal(editing.walk(3, 1, 1), [[0, 1], [1, 2], [2, 3]])
    for jump in (0, 5):
        with pytest.raises(UserError, match=f"jump is {jump}, which with 5 steps must be at least"):
            editing.walk(5, jump, 2)


def test_repaint_step_by_step():
    """Lugmayr et al. 2022, algorithm 1, in NumPy with the same draws; ddpm's last step has none."""
    key, options = jax.random.key(4), DiffusionSampling(solver="ddpm", steps=4)
    e = np.random.default_rng(0).normal(size=(3, 4))
    x = np.tile(DATA, (3, 1))
    with jax.enable_x64(True):
        solved = normal_problem("vp", options, 3, key)
        found = jax.jit(lambda x, e: editing.repaint(solved, x, KNOWN, e, 2, 2))(x, e)
        draws = np.stack([solved.noise(jnp.asarray(i)) for i in range(14)])
        scales = scales_of(solved)
    alpha, sigma = scales[0]
    y = np.where(KNOWN, alpha * x + sigma * e, sigma * e)
    for number, (here, there) in enumerate([(0, 1), (1, 2), (2, 3), (3, 1), (1, 2), (2, 3)]):
        (alpha, sigma), (alpha_to, sigma_to) = scales[here], scales[there]
        if there < here:
            beta = 1 - (alpha_to / alpha) ** 2
            y = np.sqrt(1 - beta) * y + np.sqrt(beta) * draws[2 * number]
            continue
        beta = 1 - (alpha / alpha_to) ** 2
        noise = (y - alpha * best(y, alpha, sigma)) / sigma
        mean = (y - beta / sigma * noise) / np.sqrt(1 - beta)
        made = mean + np.sqrt(beta) * sigma_to / sigma * draws[2 * number]
        y = np.where(KNOWN, alpha_to * x + sigma_to * draws[2 * number + 1], made)
    np.testing.assert_allclose(found, np.where(KNOWN, x, best(y, *scales[3])), rtol=1e-6)


def test_guidance_step_by_step():
    """Ho et al. 2022, equation 8, with the derivative written out, by Euler's steps in NumPy."""
    options = DiffusionSampling(solver="euler", steps=3)
    e = np.random.default_rng(0).normal(size=(2, 4))
    x = np.tile(DATA, (2, 1))
    with jax.enable_x64(True):
        solved = normal_problem("flow", options, 2)
        found = jax.jit(lambda x, e: editing.guide(solved, x, KNOWN, e, 3.0))(x, e)
    grid = np.asarray(solved.grid)
    y = np.where(KNOWN, (1 - grid[0]) * x + grid[0] * e, grid[0] * e)
    for t, to in itertools.pairwise(grid):
        data = best(y, 1 - t, t)
        pull = np.where(KNOWN, x - data, 0) @ slope_of(1 - t, t)
        data = np.where(KNOWN, x, data + 3.0 * (1 - t) * pull)
        y = y + (to - t) * ((y - (1 - t) * data) / t - data)
    np.testing.assert_allclose(found, y, rtol=1e-6)


# ---- against the known answer ----


def conditional():
    """Mean and covariance of what is not known, given what is."""
    rest = ~KNOWN
    pull = COVARIANCE[np.ix_(rest, KNOWN)] @ np.linalg.inv(COVARIANCE[np.ix_(KNOWN, KNOWN)])
    mean = MEAN[rest] + pull @ (DATA - MEAN)[KNOWN]
    return mean, COVARIANCE[np.ix_(rest, rest)] - pull @ COVARIANCE[np.ix_(KNOWN, rest)]


def filled(name, options, by, *settings):
    """Mean and covariance of many samples of it."""
    count = 4000
    solved = normal_problem(name, options, count, jax.random.key(3))
    x = jnp.tile(jnp.float32(DATA), (count, 1))
    e = jax.random.normal(jax.random.key(9), x.shape)
    made = np.asarray(jax.jit(lambda x, e: by(solved, x, KNOWN, e, *settings))(x, e))
    np.testing.assert_array_equal(made[:, KNOWN], np.float32(x[:, KNOWN]))
    return made[:, ~KNOWN].mean(0), np.cov(made[:, ~KNOWN].T)


@pytest.mark.full
@pytest.mark.parametrize("name", CONFIGS)
def test_repaint_comes_near_the_conditional_distribution(name):
    """Not to it: noise is drawn anew, but estimates know of what is known by its noisy data alone.

    Unconditional samples are off by 0.17 and 0.3, and have variances of 2.7 and 1.5 times these.
    """
    mean, covariance = conditional()
    options = DiffusionSampling(solver="ddpm", steps=50)
    found, spread = filled(name, options, editing.repaint, 1, 10)
    assert np.abs(found - mean).max() < 0.06
    share = np.diag(spread) / np.diag(covariance)
    assert np.all((share > 0.6) & (share < 1.2))
    assert spread[0, 1] < -0.01
    once, _ = filled(name, options, editing.repaint, 1, 1)
    assert np.abs(once - mean).max() > 2 * np.abs(found - mean).max()


@pytest.mark.parametrize(
    "name",
    [name if name == "flow" else pytest.param(name, marks=pytest.mark.full) for name in CONFIGS],
)
def test_guidance_comes_near_the_conditional_distribution(name):
    """A weight of 1 takes the estimates' error for as large as the noise, and is too small."""
    mean, covariance = conditional()
    errors = {}
    for weight in (0.0, 1.0, 5.0):
        found, spread = filled(name, DiffusionSampling(), editing.guide, weight)
        errors[weight] = np.abs(found - mean).max()
    assert errors[0.0] > 1.1 * errors[1.0] > 3 * errors[5.0]
    assert errors[5.0] < 0.04
    share = np.diag(spread) / np.diag(covariance)
    assert np.all((share > 0.75) & (share < 1.1))


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("flow", "heun"),
        *(
            pytest.param(name, solver, marks=pytest.mark.full)
            for name, solver in (("ve", "heun"), ("flow", "ddim"), ("ve", "euler"))
        ),
    ],
)
def test_inversion_is_of_the_solvers_order(name, solver):
    """The latent of data is that of the exact equation, and leads back to them."""
    order = {"heun": 2, "euler": 1, "ddim": 1}[solver]
    with jax.enable_x64(True):
        begin, data = exact(name)
        off, apart = [], []
        for steps in (64, 128):
            options = DiffusionSampling(solver=solver, steps=steps)
            solved = problem(name, options, start_of(name))
            size = solved.course.scales(jnp.asarray(solved.grid[0]))[1]

            def there_and_back(x, solved=solved, size=size):
                e = editing.invert(solved, x)
                return e, solvers.solve(solved, size * e)

            e, back = jax.jit(there_and_back)(jnp.asarray(data))
            off.append(np.abs(e - begin / size).mean())
            apart.append(np.abs(back - data).mean())
    assert abs(np.log2(off[0] / off[1]) - order) < 0.3
    # Of Heun's method the errors there and back are each other's, but for those of a higher order.
    assert np.log2(apart[0] / apart[1]) > order - 0.3
    assert apart[1] < (1e-4 if order == 2 else 0.05)


# ---- by a network ----

IMAGE = (4, 4, 1)
PLAIN = DiffusionConfig(
    network=DenoisingMLP(width=8, depth=1), optimizer=SGD(learning_rate=0.1), ema_decay=None
)
FLOW = dataclasses.replace(PLAIN, path=Straight(), prediction="velocity", times=Uniform())
KEY, INDEX = jax.random.key(3), jnp.arange(6)
EXAMPLES = jnp.float32(np.random.default_rng(1).uniform(-1, 1, (6, *IMAGE)))
HALF = np.arange(4)[:, None, None] < 2


@functools.cache
def build(config, **options):
    sampling = DiffusionSampling(steps=3, **options)
    algorithm, state = moved(make_diffusion(config, image_spec(6, IMAGE), sampling=sampling), KEY)
    return algorithm, state, algorithm.latent.draw(KEY, INDEX)


def test_strength_goes_from_the_image_to_a_sample():
    algorithm, state, z = build(FLOW)

    @functools.partial(jax.jit, static_argnums=0)
    def vary(strength):
        return algorithm.editing.sdedit(state, z, EXAMPLES, KEY, INDEX, {}, strength)

    np.testing.assert_array_equal(vary(0.0), EXAMPLES)
    sampled = algorithm.sample(state, KEY, INDEX, {})
    # On this path nothing is left of the data where samples begin.
    np.testing.assert_allclose(vary(1.0), sampled, atol=1e-5)
    apart = [np.abs(vary(strength) - EXAMPLES).mean() for strength in (0.01, 0.3, 0.9)]
    assert 0 < apart[0] < apart[1] < apart[2]


@pytest.mark.full
def test_guidance_where_nothing_is_known_is_none():
    algorithm, state, z = build(FLOW)
    nothing = np.zeros(IMAGE, bool)
    guided = algorithm.editing.guide(state, z, EXAMPLES, nothing, KEY, INDEX, {}, 5.0)
    np.testing.assert_allclose(guided, algorithm.sample(state, KEY, INDEX, {}), atol=1e-5)


def test_what_is_made_of_an_image_does_not_depend_on_the_others():
    algorithm, state, z = build(PLAIN, solver="ddpm")

    @jax.jit
    def change(z, x, index):
        return (
            algorithm.editing.repaint(state, z, x, HALF, KEY, index, {}, 1, 2),
            algorithm.editing.guide(state, z, x, HALF, KEY, index, {}, 5.0),
            algorithm.editing.sdedit(state, z, x, KEY, index, {}, 0.7),
        )

    some = jnp.array([4, 1])
    for whole, part in zip(
        change(z, EXAMPLES, INDEX), change(z[some], EXAMPLES[some], some), strict=True
    ):
        np.testing.assert_allclose(part, whole[some], atol=1e-5)
        assert np.abs(whole - EXAMPLES).max() > 0.1
    for whole in change(z, EXAMPLES, INDEX)[:2]:
        np.testing.assert_array_equal(whole[:, :2], EXAMPLES[:, :2])


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        (
            "repaint",
            {"solver": "dpmpp_2m"},
            "by which repaint is not possible; choices: ddim, ddpm",
        ),
        ("invert", {"solver": "ddpm"}, "by which inversion is not possible; choices: ddim, euler"),
        ("invert", {"churn": 2.0}, "churn is 2, but inversion follows an equation without noise"),
        ("invert", {"solver": "ddim", "eta": 0.5}, "eta is 0.5, but inversion follows"),
    ],
)
def test_solvers_that_do_not_fit(what, options, said):
    solved = normal_problem("ve", DiffusionSampling(**options), 1)
    x = jnp.zeros((1, 4))
    settings = (KNOWN, x, 1, 2) if what == "repaint" else ()
    with pytest.raises(UserError, match=said):
        getattr(editing, what)(solved, x, *settings)


# ---- from the command line ----


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a conditional model."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    flags = ("--model.network.name", "mlp", "--model.network.width", 8, "--model.conditional", True)
    flags += ("--steps", 2, "--batch-size", 8, "--eval.samples", 4, "--mode", "jit")
    outcome = genjax("train", "diffusion-digits", *flags, "--out", folder)
    assert outcome.status == 0, outcome
    return folder


def test_parts_are_made_anew(run, tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[4:] = 255
    Image.fromarray(pixels).save(tmp_path / "lower.png")
    made = {}
    for name, words in {
        "box": ("--mask", "0,4,8,8", "--examples", 3, 5, "--n", 2),
        "file": ("--mask", tmp_path / "lower.png", "--examples", 3, "--seed", 1, "--n", 1),
    }.items():
        files = ("--out", tmp_path / f"{name}.png", "--npz", tmp_path / f"{name}.npz")
        outcome = genjax("edit", run, *words, "--steps", 3, "--resamplings", 2, *files)
        assert outcome.status == 0, outcome
        made[name] = np.load(tmp_path / f"{name}.npz")
    assert outcome.out == f"wrote 1 rows of 3, step 2, to {files[1]} and {files[3]}\n"
    assert made["box"]["images"].shape == (2, 2, 8, 8, 1)
    np.testing.assert_array_equal(made["box"]["known"], np.arange(8)[:, None] < np.full(8, 4))
    upper = made["box"]["images"][:, :, :4]
    np.testing.assert_array_equal(upper, made["box"]["given"][:, None, :4].repeat(2, 1))
    # The second result of the first image, whatever stands beside it.
    apart = np.int16(made["box"]["images"][0, 1]) - made["file"]["images"][0, 0]
    assert np.abs(apart).max() <= 1
    assert Image.open(tmp_path / "box.png").size == (4 * 58 + 2, 2 * 58 + 2)


def test_images_are_inverted(run, tmp_path):
    picture = tmp_path / "way.png"
    words = ("--invert", "--examples", 0, 1, "--label", 3, "--frames", 4, "--steps", 4)
    outcome = genjax("edit", run, *words, "--out", picture, "--npz", tmp_path / "way.npz")
    assert outcome.status == 0, outcome
    first, _, last = outcome.out.splitlines()
    assert first.startswith("digits:test[0]: decoded again ")
    assert last.startswith("wrote 1 rows of 6, step 2, to ")
    made = np.load(tmp_path / "way.npz")
    assert made["latents"].shape == (2, 64)
    assert made["images"].shape == (1, 4, 8, 8, 1)
    words = ("--strength", 0.5, "--method", "guided", "--examples", 0)
    assert "--method is guided, which --strength does not have" in refusal("edit", run, *words)


EXAMPLE = ("--examples", 0)
BOX = ("--mask", "0,4,8,8", *EXAMPLE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (EXAMPLE, "give one of --mask, --strength, --invert, not none"),
        ((*BOX, "--invert"), "not --mask and --invert"),
        ((*BOX, "--weight", 2), "--weight is 2.0, which --mask by repaint does not have"),
        ((*BOX, "--method", "guided", "--jump", 2), "--jump is 2, which --mask by guided does not"),
        (("--invert", "--n", 2, *EXAMPLE), "--n is 2, which --invert does not have"),
        (("--invert", "--frames", 4, *EXAMPLE), "--frames is 4, but there is one image"),
        (("--invert", "--frames", 4, "--examples", 0, 1), "images of one class; give --label"),
        (("--strength", 1.5, *EXAMPLE), "--strength is 1.5; it must be at least 0, at most 1"),
        (("--strength", "nan", *EXAMPLE), "--strength is nan; it must be at least 0"),
        (("--strength", 0.5), "give either --image FILE ... or --examples NUMBER ..."),
        ((*BOX, "--jump", 18), "jump is 18, which with 18 steps must be at least 1, at most 17"),
        ((*BOX, "--solver", "dpmpp_2m"), "by which repaint is not possible"),
        (("--mask", "0,4,9,8", *EXAMPLE), "which is no box within 8 x 8 pixels"),
        (("--mask", "0,0,8,8", *EXAMPLE), "--mask 0,0,8,8 lets nothing stay"),
        (("--mask", "none.png", *EXAMPLE), "cannot read none.png"),
        ((*BOX, "--npz", "a.npy"), "--npz is a.npy; it must end in .npz"),
    ],
)
def test_what_is_refused(run, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(contents(run))
    assert said in refusal("edit", run, *words)
    assert set(contents(run)) == before
    assert not contents(tmp_path)


def test_a_mask_has_the_size_of_the_images(run, tmp_path):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "wide.png")
    said = refusal("edit", run, "--mask", tmp_path / "wide.png", *EXAMPLE)
    assert "wide.png has 9 x 8 pixels, and images of this run 8 x 8; give a mask of" in said


def test_other_families_edit_nothing(plain_run):
    said = refusal("edit", plain_run, *BOX)
    assert "'cgan-digits' has no estimate of images at every share of noise" in said
