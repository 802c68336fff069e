"""Names of layers, from where JAX says that an operation was traced."""

import re

_CALL = re.compile(r"(\w+)\((.*)\)")
# What JAX calls the inside of a loop: of parts of a batch, or of several steps.
_LOOP = {"while", "body", "closed_call"}
_TRANSFORMS = {"jvp", "transpose", "vmap", "remat", "checkpoint", "rematted_computation"}
# Methods of modules and operations of JAX have no capital letter, and modules have.
_METHOD = re.compile(r".*\.\w+")


def layer_of(scope: str) -> tuple[str, str]:
    """Splits a scope into a layer and the part of its work.

    Args:
      scope: such as ``jit(step)/transpose(jvp(Discriminator))/encoder/Conv_1/Conv_1.convolve/mul``.

    Returns:
      The module's path, or the last word where there is none, and forward or backward. An empty
      scope is the compiler's own.

    Example:
      >>> layer_of("jit(step)/transpose(jvp(Discriminator))/encoder/Conv_1/Conv_1.convolve/mul")
      ('Discriminator/encoder/Conv_1', 'backward')
      >>> layer_of("jit(steps)/jit(_threefry_fold_in)/stream")
      ('stream', 'forward')
    """
    part = "forward"
    words: list[str] = []
    for word in _split(scope):
        while found := _CALL.fullmatch(word):
            if found[1] == "transpose":
                part = "backward"
            elif found[1] not in _TRANSFORMS:
                word = ""
                break
            word = found[2]
        words += [
            inner
            for inner in word.split("/")
            if inner and inner not in _LOOP and not _METHOD.fullmatch(inner)
        ]
    # The last word is the operation.
    path = words[:-1] or words
    return "/".join(path) or "(compiler)", part


def _split(scope: str) -> list[str]:
    """Parts between the slashes that lie in no parentheses."""
    parts, depth = [""], 0
    for letter in scope:
        depth += (letter == "(") - (letter == ")")
        if letter == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
