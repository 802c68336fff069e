"""`genjax sample`: of a run on a text, and of one with labels."""

from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image

from genjax import load
from genjax.domains import DOMAINS
from genjax.domains.domain import Picture, Sound
from genjax.domains.previews import check_ending, save_each, save_previews
from genjax.errors import UserError

TEXT = "".join(f"{number} bottles of mead on the wall,\n" for number in range(100))
SMALL = ("--batch-size", 4, "--steps", 1, "--eval.samples", 4, "--mode", "jit")


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """A run on a text of windows of 8 characters."""
    folder = tmp_path_factory.mktemp("gpt")
    (folder / "song.txt").write_text(TEXT)
    data = ("--directory", folder / "data")
    assert genjax("data", "import", "song", "--from", folder / "song.txt", *data).status == 0
    flags = ("--data.name", "song", "--data.directory", folder / "data", "--data.length", 8)
    network = ("width", 8), ("depth", 1), ("heads", 2)
    flags += tuple(word for name, value in network for word in (f"--model.network.{name}", value))
    command = ("train", "gpt-shakespeare", *SMALL, *flags, "--out", folder / "run")
    outcome = genjax(*command)
    assert outcome.status == 0, outcome
    return folder / "run"


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional") / "run"
    flags = ("--model.generator.width", 4, "--model.discriminator.width", 4)
    outcome = genjax(
        "train", "cgan-digits", *SMALL, *flags, "--model.ema-decay", 0.9, "--out", folder
    )
    assert outcome.status == 0, outcome
    # Of one step, it holds nine tenths of what G began with.
    assert "of decay 0.9 has a half-life of 7 steps, long against 1 steps" in outcome.out
    return folder


def test_options_of_a_family_stand_before_its_run_or_behind(gpt, tmp_path):
    options = ("--prompt", "9 bottles", "--length", 3, "--n", 2)
    texts = []
    for number, words in enumerate(([gpt, *options], [*options, gpt], [*options[:2], gpt])):
        file = tmp_path / f"{number}.txt"
        outcome = genjax("sample", *words, "--out", file)
        assert outcome.status == 0, outcome
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    assert texts[0].startswith("--- sample 0 ---\n9 bottles")
    assert "--temperature" in genjax("sample", "--n", 2, gpt, "--help").out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--prompt", "Öl"), "the text has 'Ö' at 0"),
        (("--temperature", -1), "temperature is -1.0; it must be 0 or at least 1e-6"),
        # Logits divided by it are infinite, and the first character would always be drawn.
        (("--temperature", "1e-30"), "it must be 0 or at least 1e-6"),
        (("--temperature", "nan"), "temperature is nan; it must be finite"),
        (("--top-k", 0), "top_k is 0; it must be at least 1"),
        (("--length", 0), "length is 0; it must be at least 1"),
        (("--label", 0), "is not conditional"),
        (("--per-class", 1), "is not conditional"),
    ],
)
def test_what_samples_of_a_text_are_refused(gpt, tmp_path, flags, said):
    assert said in refusal("sample", gpt, *flags, "--out", tmp_path / "s.txt")
    assert not list(tmp_path.iterdir())


def test_a_prompt_may_be_as_long_as_it_likes(gpt, tmp_path):
    prompt = TEXT[:1500]
    outcome = genjax("sample", "--prompt", prompt, gpt, "--n", 1, "--out", tmp_path / "s")
    assert outcome.status == 0, outcome
    assert prompt in (tmp_path / "s.txt").read_text()


def test_a_point_in_a_name_begins_no_suffix(gpt, tmp_path):
    for name in ("t0.5", "t0.8"):
        assert genjax("sample", gpt, "--n", 1, "--out", tmp_path / name).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t0.5.txt", "t0.8.txt"]


def test_samples_of_a_class(conditional, tmp_path):
    file = tmp_path / "some.npz"
    assert genjax("sample", conditional, "--per-class", 2, "--npz", file).status == 0
    with np.load(file) as found:
        assert found["images"].shape == (20, 8, 8, 1)
        np.testing.assert_array_equal(found["labels"], np.repeat(np.arange(10), 2))
    for flags, said in (
        (("--label", 10), "--label is 10; classes of this model: 0 to 9"),
        (("--label", -1), "--label is -1"),
        (("--per-class", 10**7), "--per-class is 10000000; with 10 classes it must be at most"),
        (("--out", file, "--npz", file), f"--out and --npz are both {file}"),
    ):
        assert said in refusal("sample", conditional, *flags)


def test_samples_of_the_parameters_beside_their_average(conditional, tmp_path):
    found = []
    for average in (True, False):
        file = tmp_path / f"{average}.npz"
        flags = ("--n", 3, "--seed", 5, "--average", average, "--npz", file)
        assert genjax("sample", conditional, *flags).status == 0
        with np.load(file) as samples:
            found.append(samples["images"])
        drawn = load(conditional, average=average).sample(3, seed=5)
        np.testing.assert_array_equal(found[-1], drawn)
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".png", "PNG"), (".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP"), ("", "PNG")],
)
def test_a_grid_is_of_the_format_that_its_ending_says(conditional, tmp_path, ending, kind):
    file = tmp_path / f"grid{ending}"
    outcome = genjax("sample", conditional, "--n", 4, "--out", file)
    assert outcome.status == 0, outcome
    [written] = tmp_path.iterdir()
    assert str(written) in outcome.out
    assert written.name == (f"grid{ending}" if ending else "grid.png")
    with Image.open(written) as picture:
        assert picture.format == kind
        assert min(picture.size) > 100


@pytest.mark.parametrize("name", ["grid.gif", "grid.wav", "grid.txt", "grid.npz", "grid.exe"])
def test_a_format_that_is_not_written_is_refused(conditional, tmp_path, name):
    error = refusal("sample", conditional, "--n", 4, "--out", tmp_path / name)
    assert f"{name} can't be written: images are shown as .png or .jpg" in error
    assert not list(tmp_path.iterdir())


def test_a_text_is_no_picture_and_an_array_no_npy(gpt, conditional, tmp_path):
    assert "tokens are shown as .txt;" in refusal("sample", gpt, "--out", tmp_path / "x.png")
    assert "must end in .npz" in refusal("sample", conditional, "--npz", tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_names_with_points_in_them_have_no_ending(domain):
    for name in ("step_00000005", "t0.5", "run-1.0"):
        check_ending(Path(name), domain)
    with pytest.raises(UserError, match="choose another ending"):
        check_ending(Path("x.mp3"), domain)


def test_of_a_sound_and_a_picture_each_takes_the_ending_that_is_its_own(tmp_path):
    sound = Sound(np.zeros(8, np.int16), 8)
    picture = Picture(np.zeros((4, 4, 1), np.uint8))
    for name in ("a.jpg", "b.wav"):
        check_ending(Path(name), DOMAINS["audio"])
        save_previews(tmp_path / name, [sound, picture])
    written = {path.name: path.read_bytes()[:3] for path in tmp_path.iterdir()}
    jpeg, png, wav = b"\xff\xd8\xff", b"\x89PN", b"RIF"
    assert written == {"a.wav": wav, "a.jpg": jpeg, "b.wav": wav, "b.png": png}


def test_each_sample_in_a_file_of_its_own(conditional, gpt, tmp_path):
    flags = ("--n", 12, "--seed", 4)
    file = tmp_path / "all.npz"
    assert genjax("sample", conditional, *flags, "--npz", file).status == 0
    outcome = genjax("sample", conditional, *flags, "--out", f"{tmp_path}/each/")
    assert outcome.status == 0, outcome
    with np.load(file) as arrays:
        for number, (pixels, label) in enumerate(
            zip(arrays["images"], arrays["labels"], strict=True)
        ):
            with Image.open(tmp_path / "each" / str(label) / f"{number:02d}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture)[..., None], pixels)
    assert len(list((tmp_path / "each").rglob("*.*"))) == 12
    said = refusal("sample", conditional, *flags, "--out", tmp_path / "each")
    assert "each: it is not empty; name a new folder" in said

    assert genjax("sample", gpt, "--n", 2, "--out", f"{tmp_path}/texts/").status == 0
    texts = {path.name: path.read_text() for path in (tmp_path / "texts").iterdir()}
    assert sorted(texts) == ["0.txt", "1.txt"]
    assert genjax("sample", gpt, "--n", 2, "--out", tmp_path / "both.txt").status == 0
    both = (tmp_path / "both.txt").read_text()
    assert both == "".join(f"--- sample {i} ---\n{texts[f'{i}.txt']}\n" for i in range(2))


def test_classes_whose_names_are_no_folders(tmp_path):
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    save_each(tmp_path, pixels, DOMAINS["image"], {}, ["a/b", "a b", "../c"])
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert found == {"a_b/0.png", "a_b-1/1.png", "_c/2.png"}


def test_points_are_not_written_one_by_one(tmp_path):
    with pytest.raises(UserError, match="points are not looked at one by one"):
        save_each(tmp_path / "new", np.zeros((3, 2), np.float32), DOMAINS["points"], {}, None)
    assert not (tmp_path / "new").exists()
