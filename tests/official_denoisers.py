"""EDM's and DiT's official networks as functions of their state dicts, in PyTorch, and random
state dicts of them.

Written from the papers and the authors' modules, to compare imported weights with.
"""

import math

import numpy as np
from official_networks import CLASSES, Network, Weights, double


def edm(seed, adm, conditional=True, told=0, width=8, multiples=(1, 2), side=8):
    """A network of images of one channel with a block a stage and attention at half the side."""
    made, embedded = Weights(seed), 4 * width
    widths = [width * multiple for multiple in multiples]
    taps = np.full((1, 1, 2, 2), 0.25, np.float32)

    def layer(name, *shape, bias=True):
        made.layer(f"model.{name}", *shape, bias=bias, spectral=False)

    def norm(name, channels):
        made.add(f"model.{name}.weight", channels, least=0.5)
        made.add(f"model.{name}.bias", channels)

    def block(name, inputs, outputs, resampled=False, attends=False):
        norm(f"{name}.norm0", inputs)
        layer(f"{name}.conv0", outputs, inputs, 3, 3)
        layer(f"{name}.affine", outputs * (2 if adm else 1), embedded)
        norm(f"{name}.norm1", outputs)
        layer(f"{name}.conv1", outputs, outputs, 3, 3)
        if inputs != outputs or (resampled and not adm):
            layer(f"{name}.skip", outputs, inputs, 1, 1)
        if resampled:
            made.tensors[f"model.{name}.conv0.resample_filter"] = taps
            made.tensors[f"model.{name}.skip.resample_filter"] = taps
        if attends:
            norm(f"{name}.norm2", outputs)
            layer(f"{name}.qkv", 3 * outputs, outputs, 1, 1)
            layer(f"{name}.proj", outputs, outputs, 1, 1)

    layer("map_layer0", embedded, width)
    layer("map_layer1", embedded, embedded)
    if conditional:
        layer("map_label", embedded if adm else width, CLASSES, bias=not adm)
    if told:
        layer("map_augment", width, told, bias=False)
    first, (wide, narrow) = widths[0] if adm else width, widths[::-1]
    full, half = f"{side}x{side}", f"{side // 2}x{side // 2}"
    layer(f"enc.{full}_conv", first, 1, 3, 3)
    block(f"enc.{full}_block0", first, narrow)
    block(f"enc.{half}_down", narrow, narrow, resampled=True)
    block(f"enc.{half}_block0", narrow, wide, attends=True)
    block(f"dec.{half}_in0", wide, wide, attends=True)
    block(f"dec.{half}_in1", wide, wide)
    block(f"dec.{half}_block0", wide + wide, wide, attends=adm)
    block(f"dec.{half}_block1", wide + narrow, wide, attends=True)
    block(f"dec.{full}_up", wide, wide, resampled=True)
    block(f"dec.{full}_block0", wide + narrow, narrow)
    block(f"dec.{full}_block1", narrow + first, narrow)
    last = "out" if adm else f"dec.{full}_aux"
    norm(f"{last}_norm", narrow)
    layer(f"{last}_conv", 1, narrow, 3, 3)
    return made.tensors


def dit(seed, sigma=True, width=8, patch=2, depth=2, side=8, channels=1):
    """A network that has variances, too, with `sigma`."""
    made = Weights(seed)
    count = side // patch
    position = np.zeros((1, count * count, width))
    for place in range(count * count):
        for part, number in enumerate((place % count, place // count)):
            for wave in range(width // 4):
                angle = number / 10_000 ** (wave / (width / 4))
                own = position[0, place, part * width // 2 :]
                own[wave], own[width // 4 + wave] = math.sin(angle), math.cos(angle)
    made.tensors["pos_embed"] = position.astype(np.float32)

    def layer(name, *shape):
        made.layer(name, *shape, spectral=False)

    layer("x_embedder.proj", width, channels, patch, patch)
    layer("t_embedder.mlp.0", width, 256)
    layer("t_embedder.mlp.2", width, width)
    made.add("y_embedder.embedding_table.weight", CLASSES + 1, width)
    for block in range(depth):
        layer(f"blocks.{block}.attn.qkv", 3 * width, width)
        layer(f"blocks.{block}.attn.proj", width, width)
        layer(f"blocks.{block}.mlp.fc1", 4 * width, width)
        layer(f"blocks.{block}.mlp.fc2", width, 4 * width)
        layer(f"blocks.{block}.adaLN_modulation.1", 6 * width, width)
    layer("final_layer.linear", patch**2 * channels * (2 if sigma else 1), width)
    layer("final_layer.adaLN_modulation.1", 2 * width, width)
    return made.tensors


def _waves(torch, x, count, endpoint=False):
    rates = 10_000 ** -(torch.arange(count) / (count - 1 if endpoint else count))
    angles = x[:, None] * rates
    return angles.cos(), angles.sin()


def edm_says(torch, tensors, x, noise, labels, changes=None):
    """F of images [batch, 1, side, side], levels of noise, labels of which CLASSES is none, and
    perhaps what is told of the images' augmentation."""
    net = Network(torch, {name.removeprefix("model."): x for name, x in tensors.items()})
    silu, adm = net.functional.silu, "out_norm.weight" in net
    width = net.weight("map_layer0").shape[1]
    one_hot = None
    if labels is not None:
        one_hot = net.functional.one_hot(labels, CLASSES + 1)[:, :CLASSES].float()
    cosines, sines = _waves(torch, noise, width // 2, endpoint=not adm)
    told = 0 if changes is None else net.dense("map_augment", changes)
    if adm:
        e = silu(net.dense("map_layer0", torch.cat([cosines, sines], 1) + told))
        e = net.dense("map_layer1", e)
        e = silu(e if one_hot is None else e + net.dense("map_label", one_hot))
    else:
        e = torch.cat([sines, cosines], 1) + told
        e = e if one_hot is None else e + net.dense("map_label", one_hot * CLASSES**0.5)
        e = silu(net.dense("map_layer1", silu(net.dense("map_layer0", e))))

    def norm(name, x):
        groups, epsilon = min(32, x.shape[1] // 4), 1e-5 if adm else 1e-6
        weight, bias = net.weight(name), net.tensors[f"{name}.bias"]
        return net.functional.group_norm(x, groups, weight, bias, epsilon)

    def block(name, x):
        if f"{name}.norm0.weight" not in net:
            return net.conv(name, x)
        grow = {"down": lambda x: net.functional.avg_pool2d(x, 2), "up": double}
        resample = grow.get(name.rpartition("_")[2], lambda x: x)
        y = net.conv(f"{name}.conv0", resample(silu(norm(f"{name}.norm0", x))))
        given = net.dense(f"{name}.affine", e)[..., None, None]
        if adm:
            scale, shift = given.chunk(2, 1)
            y = norm(f"{name}.norm1", y) * (scale + 1) + shift
        else:
            y = norm(f"{name}.norm1", y + given)
        x = resample(x)
        x = net.conv(f"{name}.skip", x) if f"{name}.skip.weight" in net else x
        factor = 1 if adm else 0.5**0.5
        x = (x + net.conv(f"{name}.conv1", silu(y))) * factor
        if f"{name}.qkv.weight" not in net:
            return x
        heads = x.shape[1] // 64 if adm else 1
        qkv = net.conv(f"{name}.qkv", norm(f"{name}.norm2", x))
        q, k, v = qkv.reshape(len(x), heads, -1, 3, x.shape[2] * x.shape[3]).unbind(3)
        shares = torch.softmax(q.transpose(2, 3) @ k / q.shape[2] ** 0.5, -1)
        seen = (v @ shares.transpose(2, 3)).reshape(x.shape)
        return (x + net.conv(f"{name}.proj", seen)) * factor

    parts = [".".join(name.split(".")[:2]) for name in net.tensors]
    names = [name for name in dict.fromkeys(parts) if "aux" not in name]
    kept = []
    for name in (name for name in names if name.startswith("enc.")):
        x = block(name, x)
        kept.append(x)
    for name in (name for name in names if name.startswith("dec.")):
        if net.weight(f"{name}.norm0").shape[0] != x.shape[1]:
            x = torch.cat([x, kept.pop()], 1)
        x = block(name, x)
    last = "out" if adm else next(name for name in parts if "aux_norm" in name)[: -len("_norm")]
    return net.conv(f"{last}_conv", silu(norm(f"{last}_norm", x)))


def dit_says(torch, tensors, x, noise, labels, changes=None, heads=2):
    """The noise in images, likewise; noise are steps of 0 to 999."""
    net = Network(torch, tensors)
    silu, width = net.functional.silu, net.weight("x_embedder.proj").shape[0]
    patch, side = net.weight("x_embedder.proj").shape[-1], x.shape[-1]
    count, channels = side // patch, x.shape[1]
    weight, bias = net.weight("x_embedder.proj"), net.tensors["x_embedder.proj.bias"]
    y = net.functional.conv2d(x, weight, bias, stride=patch).flatten(2).transpose(1, 2)
    y = y + net.tensors["pos_embed"]
    e = silu(net.dense("t_embedder.mlp.0", torch.cat(_waves(torch, noise, 128), 1)))
    e = net.dense("t_embedder.mlp.2", e) + net.weight("y_embedder.embedding_table")[labels]

    def parts(name, count):
        return net.dense(f"{name}.adaLN_modulation.1", silu(e))[:, None].chunk(count, 2)

    def norm(y, shift, scale):
        return net.functional.layer_norm(y, (width,), eps=1e-6) * (1 + scale) + shift

    for block in range(sum(name.endswith("attn.qkv.weight") for name in tensors)):
        name = f"blocks.{block}"
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts(name, 6)
        qkv = net.dense(f"{name}.attn.qkv", norm(y, shift, scale))
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, 2))
        shares = torch.softmax(q @ k.transpose(2, 3) / q.shape[3] ** 0.5, -1)
        seen = (shares @ v).transpose(1, 2).flatten(2)
        y = y + gate * net.dense(f"{name}.attn.proj", seen)
        z = net.dense(f"{name}.mlp.fc1", norm(y, mlp_shift, mlp_scale))
        z = net.functional.gelu(z, approximate="tanh")
        y = y + mlp_gate * net.dense(f"{name}.mlp.fc2", z)
    y = net.dense("final_layer.linear", norm(y, *parts("final_layer", 2)))
    y = y.reshape(len(x), count, count, patch, patch, -1)[..., :channels]
    return y.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
