"""The Python of the README runs as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    found: dict[str, object] = {}
    exec(blocks[0].replace("steps=500", "steps=4, batch_size=8"), found)
    assert found["images"].shape == (16, 8, 8, 1)
    assert (found["images"] == found["again"]).all()
    exec(blocks[1], found)
    assert found["samples"].shape == (16, 8, 8, 1)
