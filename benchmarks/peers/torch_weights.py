"""From genjax's variables to tensors of `torch_networks`.

Convolutions are mirrored, since those networks see mirrored images. A transposed convolution of
genjax is one of PyTorch with a mirrored kernel, so its kernel stays as it is. Maps that are
flattened change the order of their axes as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.torch_networks import SpectralConv2d, SpectralLinear, as_matrix
from genjax.core.types import Params, Variables


def mirror(images: np.ndarray) -> np.ndarray:
    """[batch, height, width, channels] to [batch, channels, height, width], mirrored."""
    return np.ascontiguousarray(images[:, ::-1, ::-1].transpose(0, 3, 1, 2))


def _layers(network: Any) -> Iterator[tuple[str, Any, str]]:
    """Every layer with weights: its PyTorch name, itself and its name in genjax.

    Both number the layers of each kind in the order in which a network calls them.
    """
    counts: dict[str, int] = {}
    for name, layer in network.named_modules():
        kind = {
            nn.Conv2d: "Conv",
            SpectralConv2d: "Conv",
            nn.ConvTranspose2d: "ConvTranspose",
            nn.BatchNorm2d: "Normalize",
        }.get(type(layer))
        if isinstance(layer, nn.Linear):
            yield name, layer, "logit" if name == "logit" else "Dense_0"
        elif kind is not None:
            number = counts.setdefault(kind, 0)
            counts[kind] += 1
            yield name, layer, f"{kind}_{number}"


def _flat(collection: Mapping[str, Any]) -> dict[str, Any]:
    """The layers of a player, whether they belong to its decoder, its encoder or to itself."""
    parts = {**collection}
    return {**parts.pop("decoder", {}), **parts.pop("encoder", {}), **parts}


def _map_axis(network: Any, kernel: np.ndarray, axis: int) -> np.ndarray:
    """Reorders the axis of a matrix that is a flattened map."""
    channels, height, width = network.map
    kernel = np.moveaxis(kernel, axis, -1)
    x = kernel.reshape(-1, height, width, channels)[:, ::-1, ::-1]
    x = x if network.channels_last else x.transpose(0, 3, 1, 2)
    return np.moveaxis(x.reshape(kernel.shape), -1, axis)


def _weight(network: Any, layer: Any, kernel: np.ndarray) -> np.ndarray:
    """Brings a kernel, or its gradient, into PyTorch's order."""
    if isinstance(layer, nn.Linear):
        return _map_axis(network, kernel, 0 if hasattr(network, "logit") else 1).T
    if isinstance(layer, nn.ConvTranspose2d):
        return kernel.transpose(2, 3, 0, 1)
    return kernel[::-1, ::-1].transpose(3, 2, 0, 1)


def convert_params(network: Any, params: Params) -> dict[str, Tensor]:
    """Converts parameters, or anything of their structure such as gradients.

    Args:
      network: of `torch_networks`.
      params: of the same network in genjax.

    Returns:
      From PyTorch's names to float32 tensors.
    """
    ours, result = _flat(params), {}
    for name, layer, key in _layers(network):
        values = {part: np.asarray(value, np.float32) for part, value in ours[key].items()}
        if isinstance(layer, nn.BatchNorm2d):
            weight = values["scale"]
        else:
            weight = _weight(network, layer, values["kernel"])
        result[f"{name}.weight"] = torch.from_numpy(weight.copy())
        if layer.bias is not None:
            bias = values["bias"]
            if isinstance(layer, nn.Linear) and bias.size > 1:
                bias = _map_axis(network, bias[None], 1)[0]
            result[f"{name}.bias"] = torch.from_numpy(bias.copy())
    return result


def convert_buffers(network: Any, variables: Variables) -> dict[str, Tensor]:
    """Converts batch statistics and singular vectors.

    Args:
      network: of `torch_networks`.
      variables: the other collections of the same network in genjax.

    Returns:
      From PyTorch's names to float32 tensors. The variances are as genjax has them, without
      PyTorch's factor n / (n - 1); no training output depends on them.
    """
    statistics, vectors = (_flat(variables.get(x, {})) for x in ("batch_stats", "spectral"))
    result = {}
    for name, layer, key in _layers(network):
        if isinstance(layer, nn.BatchNorm2d):
            moments = statistics[key.replace("Normalize", "BatchNorm")]
            result[f"{name}.running_mean"] = torch.tensor(np.asarray(moments["mean"]))
            result[f"{name}.running_var"] = torch.tensor(np.asarray(moments["var"]))
        elif isinstance(layer, SpectralConv2d | SpectralLinear):
            u, v = (np.asarray(vectors[key]["vectors"][x], np.float32) for x in "uv")
            # v is a kernel of one output.
            size = layer.kernel_size if isinstance(layer, SpectralConv2d) else ()
            row = torch.from_numpy(_weight(network, layer, v.reshape(*size, -1, 1)).copy())
            result[f"{name}.u"] = torch.tensor(u)
            result[f"{name}.v"] = as_matrix(row, network.channels_last)[0]
    return result


def load(network: nn.Module, params: Params, variables: Variables) -> None:
    """Gives a network the weights of its counterpart.

    Args:
      network: of `torch_networks`.
      params: of the same network in genjax.
      variables: its other collections.

    Raises:
      RuntimeError: the two networks differ in their layers.
    """
    converted = {**convert_params(network, params), **convert_buffers(network, variables)}
    counters = {k: x for k, x in network.state_dict().items() if "num_batches" in k}
    network.load_state_dict({**converted, **counters})
