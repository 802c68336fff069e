"""Sound: what a model sees, what is heard and seen of it, WAV files and resampling."""

import dataclasses
import io
import json
import struct
import sys
import wave
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.io import wavfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genjax.config import DataConfig, WaveGAN
from genjax.data.importer import import_dataset
from genjax.data.sounds import read_header, read_sound, resample
from genjax.data.sources import load
from genjax.domains import DOMAINS
from genjax.domains.audio import (
    band_energies,
    quantize_audio,
    render_audio,
    scale_audio,
    spectra,
    spectrogram,
)
from genjax.domains.domain import Layout
from genjax.domains.previews import save_previews
from genjax.errors import UserError
from genjax.run.directory import read_schema
from genjax.run.events import EventFile
from genjax.run.loop import train

RATE = 8000
AUDIO = DOMAINS["audio"]
FACTS = {"sample_rate": RATE}


def tone(frequency, count=4096, amplitude=1.0, rate=RATE):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(count) / rate + 0.3)


def stored(wave):
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def test_every_16_bit_sample_survives():
    levels = np.arange(-32768, 32768).astype(np.int16).reshape(8, -1, 1)
    seen = scale_audio(jnp.asarray(levels))
    assert seen.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(seen, np.float64) * 32768, levels)
    np.testing.assert_array_equal(quantize_audio(seen), levels)
    beyond = quantize_audio(jnp.array([1.0, 7.0, -1.1, 0.4 / 32768, -0.6 / 32768]).reshape(1, 5, 1))
    assert beyond.ravel().tolist() == [32767, 32767, -32768, 0, -1]


def test_spectra_against_a_sum():
    wave = np.random.default_rng(0).integers(-9000, 9000, 700).astype(np.int16)
    found = spectra(wave[None], hop=64)[0]
    assert found.shape == (8, 129)
    n = np.arange(256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    padded = np.concatenate([wave / 32768, np.zeros(256)])
    for frame in range(8):
        part = padded[64 * frame :][:256] * window
        for bin in (0, 1, 40, 128):
            total = np.sum(part * np.exp(-2j * np.pi * bin * n / 256))
            assert found[frame, bin] == pytest.approx(abs(total) / 64, abs=1e-12)


@pytest.mark.parametrize("bin", [8, 50, 120])
def test_a_pure_tone_lights_its_row(bin):
    # A sine of full scale is 0 dB, one of a tenth -20 dB.
    loud = spectrogram(stored(tone(bin * RATE / 256)))
    assert loud.shape == (129, 61, 1)
    assert loud.dtype == np.uint8
    assert (loud[128 - bin] == 255).all()
    assert (loud.argmax(axis=0) == 128 - bin).all()
    quiet = spectrogram(stored(tone(bin * RATE / 256, amplitude=0.1)))
    np.testing.assert_allclose(quiet[128 - bin], round(255 * 60 / 80), atol=1)
    # A Hann window reaches two bins to either side and no further.
    far = np.abs(np.arange(129) - (128 - bin)) > 2
    assert loud[far].max() < 60


def test_silence_is_black_and_pictures_stay_readable():
    assert not spectrogram(np.zeros(8192, np.int16)).any()
    assert spectrogram(np.zeros(1, np.int16)).shape == (129, 1, 1)
    assert spectrogram(np.zeros(8192, np.int16)).shape == (129, 125, 1)
    assert spectrogram(np.zeros(10**6, np.int16)).shape[1] <= 256


def test_features_tell_pitch_and_time():
    half = np.concatenate([tone(350, 2048), np.zeros(2048)])
    features = band_energies(stored(np.stack([half, tone(3250)]))[..., None], RATE)
    assert features.shape == (2, 128)
    assert features.dtype == np.float64
    early, later = features[0].reshape(8, 16)[[1, -1]]
    mel = 2595 * np.log10(1 + np.array([350, 3250, 4000]) / 700)
    low, high = (int(16 * mel[i] / mel[2]) for i in (0, 1))
    assert early.argmax() == low
    np.testing.assert_allclose(later, np.log(32768.0**-2))
    assert (features[1].reshape(8, 16).argmax(axis=1) == high).all()
    # The mean energy of a sine in Hann windows: 1.5 times its peak's, which is 1.
    assert features[1].reshape(8, 16)[3, high] == pytest.approx(np.log(1.5), abs=0.01)


@pytest.mark.parametrize("length", [1, 100, 300, 5000])
def test_features_of_short_sounds_are_finite(length):
    waves = np.random.default_rng(0).integers(-99, 99, (3, length, 1)).astype(np.int16)
    features = AUDIO.coarse(waves, FACTS)
    assert features.shape == (3, 128)
    assert np.isfinite(features).all()
    one_by_one = np.concatenate([band_energies(row[None], RATE) for row in waves])
    np.testing.assert_allclose(features, one_by_one)


def test_samples_are_heard_one_after_the_other(tmp_path: Path):
    samples = stored(np.stack([tone(500, 512), tone(1500, 512), tone(2500, 512)]))[..., None]
    sound, picture = render_audio(samples, FACTS, Layout(8, {"real": samples[2:]}))
    assert sound.rate == RATE
    assert sound.wave.dtype == np.int16
    parts = [2, 0, 1, 2]
    # 0.1 s of silence.
    assert len(sound.wave) == 4 * 512 + 3 * 800
    for place, number in enumerate(parts):
        start = place * (512 + 800)
        np.testing.assert_array_equal(sound.wave[start : start + 512], samples[number, :, 0])
        assert not sound.wave[start + 512 : start + 1312].any()
    # One row above, and one of at most four columns.
    tile = spectrogram(samples[0, :, 0])
    assert picture.pixels.shape == (2 * (129 + 4), 4 * (tile.shape[1] + 2) + 2, 1)
    np.testing.assert_array_equal(picture.pixels[133 + 2 : 133 + 131, 2 : 2 + 5], tile)

    files = save_previews(tmp_path / "step.png", [sound, picture])
    assert [file.name for file in files] == ["step.wav", "step.png"]
    rate, written = wavfile.read(tmp_path / "step.wav")
    assert rate == RATE
    np.testing.assert_array_equal(written, sound.wave)
    np.testing.assert_array_equal(Image.open(tmp_path / "step.png"), picture.pixels[..., 0])

    events = EventFile(tmp_path, None)
    events.show(5, [sound, picture])
    events.close()
    log = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "audio": 0}).Reload()
    (heard,), (seen,) = log.Audio("samples"), log.Images("samples")
    assert (heard.step, heard.sample_rate, heard.length_frames) == (5, RATE, len(sound.wave))
    _, logged = wavfile.read(io.BytesIO(heard.encoded_audio_string))
    np.testing.assert_array_equal(logged, sound.wave)
    decoded = Image.open(io.BytesIO(seen.encoded_image_string))
    np.testing.assert_array_equal(decoded, picture.pixels[..., 0])


def test_a_run_on_sound(small_experiment, tmp_path: Path):
    for number, label in enumerate(("low", "high")):
        for phase in range(9):
            wave = 0.5 * tone(500 + 2000 * number, 80)[phase : phase + 70]
            path = tmp_path / "raw" / label / f"{phase}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(path, RATE, stored(wave))
    import_dataset("tones", tmp_path / "raw", tmp_path / "sets")
    network = WaveGAN(width=2)
    model = dataclasses.replace(small_experiment.model, generator=network, discriminator=network)
    data = DataConfig("tones", directory=str(tmp_path / "sets"), length=64)
    experiment = dataclasses.replace(small_experiment, data=data, model=model)
    run = tmp_path / "run"
    train(experiment, run, load(data), Console(file=io.StringIO()))

    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = [row["evaluation/band_frechet"] for row in rows if "evaluation/diversity" in row]
    assert len(scores) == 3
    assert np.isfinite(scores).all()
    rate, heard = wavfile.read(run / "samples" / "step_00000006.wav")
    assert rate == RATE
    assert heard.shape == (16 * 64 + 15 * 800,)
    assert Image.open(run / "samples" / "step_00000006.png").size[0] == 4 * (1 + 2) + 2
    assert read_schema(run) == load(data).schema


def write_pcm(path, samples, width, rate=RATE):
    """Integers [n, channels] of so many bytes, by Python's own module."""
    offset = 128 if width == 1 else 0
    raw = (samples + offset).astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw.tobytes())


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_integers_of_every_width(tmp_path: Path, width, channels):
    half = 2 ** (8 * width - 1)
    random = np.random.default_rng(width)
    samples = random.integers(-half, half, (1000, channels))
    samples[0], samples[1] = -half, half - 1
    write_pcm(tmp_path / "x.wav", samples, width)
    assert read_header(tmp_path / "x.wav") == (RATE, channels, 1000)
    found = read_sound(tmp_path / "x.wav", RATE)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, stored(samples.mean(axis=1) / half))
    if width == 2 and channels == 1:
        np.testing.assert_array_equal(found, samples[:, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_rounded_and_clipped(tmp_path: Path, dtype):
    samples = np.array([[0, 0], [0.5, -0.25], [1.5, 1.5], [-2, -1], [1 / 65536, 0]]).astype(dtype)
    wavfile.write(tmp_path / "x.wav", 44_100, samples)
    found = read_sound(tmp_path / "x.wav", 44_100)
    assert found.tolist() == [0, 4096, 32767, -32768, 0]


def test_the_extensible_format_and_chunks_between(tmp_path: Path):
    samples = np.arange(-50, 50, dtype="<i2")
    name = struct.pack("<HIH8s", 1, 0, 16, bytes.fromhex("800000aa00389b71"))
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + name
    odd = b"junk" + struct.pack("<I", 3) + b"abc\0"
    data = b"data" + struct.pack("<I", 200) + samples.tobytes()
    body = b"WAVE" + odd + b"fmt " + struct.pack("<I", len(form)) + form + odd + data
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(read_sound(tmp_path / "x.wav", RATE), samples)


@pytest.mark.parametrize("rate", [44_100, 22_050, 6_000])
def test_resampling_keeps_a_tone(tmp_path: Path, rate):
    frequency, count = 1000, rate
    wavfile.write(tmp_path / "x.wav", rate, stored(tone(frequency, count, 0.5, rate)))
    found = read_sound(tmp_path / "x.wav", RATE)
    # One second.
    assert abs(len(found) - RATE) <= 1
    middle = found[1000:7000] / 32768
    # In bins of 4/3 Hz.
    peak = np.abs(np.fft.rfft(middle * np.hanning(6000)))
    assert peak.argmax() * RATE / 6000 == pytest.approx(frequency, abs=RATE / 6000)
    # Not only the pitch: the very wave.
    np.testing.assert_allclose(middle, tone(frequency, RATE, 0.5)[1000:7000], atol=2e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    high = tone(10_000, 44_100, rate=44_100)
    assert np.abs(resample(high, 44_100, RATE)[500:-500]).max() < 1e-3


def test_missing_packages_are_named_and_soxr_is_not_always_needed(tmp_path: Path, monkeypatch):
    wavfile.write(tmp_path / "x.wav", RATE, stored(tone(440)))
    monkeypatch.setitem(sys.modules, "soxr", None)
    np.testing.assert_array_equal(read_sound(tmp_path / "x.wav", RATE), stored(tone(440)))
    message = r"need the package soxr: pip install 'genjax-models\[audio\]'"
    with pytest.raises(UserError, match=message):
        read_sound(tmp_path / "x.wav", 16_000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match="need the package soundfile"):
        read_sound(tmp_path / "x.wav", RATE)
