"""The YAML form of a configuration."""

import functools
import re
from typing import Any

from genjax.errors import UserError, reason

_FLOAT = "tag:yaml.org,2002:float"
# YAML 1.1 takes 1e-3 for a word, because it has no point, and 1.5e3, because it has no sign.
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
_WIDTH = 1000


def parse_yaml(text: str, where: str) -> Any:
    """Reads plain values; no tag of YAML makes an object of Python.

    Args:
      text: YAML.
      where: name of the file, for errors.

    Returns:
      The values.

    Raises:
      UserError: it is not YAML.
    """
    import yaml

    try:
        return yaml.load(text, _kinds()[0])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid YAML: {reason(error)}") from None


def to_yaml(plain: Any) -> str:
    """Writes plain values, a list in one line each."""
    import yaml

    text: str = yaml.dump(plain, Dumper=_kinds()[1], sort_keys=False, width=_WIDTH)
    return text


@functools.cache
def _kinds() -> tuple[Any, Any]:
    """A loader and a dumper that agree on what is a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            names = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in names:
                    said = f"{key.value!r} is there twice"
                    raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
                names.add(key.value)
            return node

    class Dumper(yaml.SafeDumper):
        pass

    def in_line(dumper: Any, values: Any) -> Any:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)

    for kind in (list, tuple):
        Dumper.add_representer(kind, in_line)
    for either in (Loader, Dumper):
        either.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
    return Loader, Dumper
