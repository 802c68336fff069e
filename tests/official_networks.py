"""Official networks as functions of their state dicts, in PyTorch, and random state dicts of them.

Written from the papers and the authors' modules, to compare imported weights with.
"""

import numpy as np

CLASSES = 10


class Weights:
    """Random tensors, added by name."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.tensors = {}

    def add(self, name, *shape, scale=1.0, least=None):
        values = scale * self.random.standard_normal(shape)
        values = values if least is None else least + np.abs(values)
        self.tensors[name] = np.asarray(values, np.float32)

    def layer(self, name, *shape, bias=True, spectral=True):
        self.add(f"{name}.weight", *shape, scale=max(1, np.prod(shape[1:])) ** -0.5)
        if bias:
            self.add(f"{name}.bias", shape[0], scale=0.1)
        if spectral:
            self.add(f"{name}.u0", 1, shape[0])
            self.add(f"{name}.sv0", 1)

    def attention(self, name, channels, spectral):
        sizes = {"theta": channels // 8, "phi": channels // 8, "g": channels // 2}
        for part, size in sizes.items():
            self.layer(f"{name}.{part}", size, channels, 1, 1, bias=False, spectral=spectral)
        self.layer(f"{name}.o", channels, channels // 2, 1, 1, bias=False, spectral=spectral)
        self.add(f"{name}.gamma")

    def statistics(self, name, channels):
        self.add(f"{name}.stored_mean", channels, scale=0.3)
        self.add(f"{name}.stored_var", channels, least=0.5)


def biggan(seed, hierarchical, spectral=True, width=2, base=2, blocks=2, depth=0):
    """G and D for images of 8 x 8 x 1; deep with a depth."""
    made, channels = Weights(seed), 4 * width
    shared, chunk = (3, 2) if hierarchical else (0, 5)
    first = chunk + shared if depth else chunk
    made.layer("linear", channels * base**2, first, spectral=spectral)
    if hierarchical:
        made.layer("shared", CLASSES, shared, bias=False, spectral=False)

    def norm(name, size):
        for part in ("gain", "bias"):
            shape = (size, chunk + shared) if hierarchical else (CLASSES, size)
            normalized = spectral and hierarchical
            made.layer(f"{name}.{part}", *shape, bias=False, spectral=normalized)
        made.statistics(name, size)

    for block in range(blocks * max(1, depth)):
        name, inner = f"blocks.{block}.0", channels // 4 if depth else channels
        sides = (1, 3, 3, 1) if depth else (3, 3, 1)
        parts = ("conv1", "conv2", "conv3", "conv4") if depth else ("conv1", "conv2", "conv_sc")
        sizes = [channels, inner, inner, inner, channels] if depth else [channels] * 4
        for number, (part, side) in enumerate(zip(parts, sides, strict=True)):
            shape = (sizes[number + 1], sizes[number], side, side)
            made.layer(f"{name}.{part}", *shape, spectral=spectral)
        for number in range(4 if depth else 2):
            norm(f"{name}.bn{number + 1}", sizes[number])
    if hierarchical:
        made.attention(f"blocks.{max(1, depth) - 1}.1", channels, spectral)
    made.add("output_layer.0.gain", channels)
    made.add("output_layer.0.bias", channels)
    made.statistics("output_layer.0", channels)
    made.layer("output_layer.2", 1, channels, 3, 3, spectral=spectral)

    judge = Weights(seed + 1)
    if depth:
        judge.layer("input_conv", channels, 1, 3, 3)
        for name in (f"blocks.{group}.{place}" for group in range(3) for place in range(depth)):
            inner = channels // 4
            for part, *shape in (
                ("conv1", inner, channels, 1, 1),
                ("conv2", inner, inner, 3, 3),
                ("conv3", inner, inner, 3, 3),
                ("conv4", channels, inner, 1, 1),
            ):
                judge.layer(f"{name}.{part}", *shape)
    else:
        for block in range(4):
            before = channels if block else 1
            judge.layer(f"blocks.{block}.0.conv1", channels, before, 3, 3)
            judge.layer(f"blocks.{block}.0.conv2", channels, channels, 3, 3)
            if block < 2:
                judge.layer(f"blocks.{block}.0.conv_sc", channels, before, 1, 1)
    if hierarchical:
        judge.attention(f"blocks.0.{max(1, depth)}", channels, True)
    judge.layer("linear", 1, channels)
    judge.layer("embed", CLASSES, channels, bias=False)
    return made.tensors, judge.tensors


def r3gan(seed, conditional, widths=(8, 4), blocks=(2, 1), group=4, latent=5):
    """G and D for images of 8 x 8 x 1."""
    made, judge = Weights(seed), Weights(seed + 1)
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64

    def layer(of, name, *shape):
        of.layer(name, *shape, bias=False, spectral=False)

    def residual(of, name, width):
        layer(of, f"{name}.LinearLayer1.Layer", 2 * width, width, 1, 1)
        layer(of, f"{name}.LinearLayer2.Layer", 2 * width, group, 3, 3)
        layer(of, f"{name}.LinearLayer3.Layer", width, 2 * width, 1, 1)
        of.add(f"{name}.NonLinearity1.Bias", 2 * width)
        of.add(f"{name}.NonLinearity2.Bias", 2 * width)

    embedded = latent if conditional else 0
    name = "Model.MainLayers"
    made.add(f"{name}.0.Layers.0.Basis", widths[0], 4, 4, scale=0.3)
    layer(made, f"{name}.0.Layers.0.LinearLayer", widths[0], latent + embedded)
    for stage, width in enumerate(widths):
        if stage:
            made.tensors[f"{name}.{stage}.Layers.0.Resampler.Kernel"] = taps
            layer(made, f"{name}.{stage}.Layers.0.LinearLayer.Layer", width, widths[0], 1, 1)
        for block in range(blocks[stage]):
            residual(made, f"{name}.{stage}.Layers.{block + 1}", width)
    layer(made, "Model.AggregationLayer.Layer", 1, widths[-1], 1, 1)
    layer(judge, "Model.ExtractionLayer.Layer", widths[-1], 1, 1, 1)
    for stage, width in enumerate(widths[::-1]):
        count = blocks[::-1][stage]
        for block in range(count):
            residual(judge, f"{name}.{stage}.Layers.{block}", width)
        last = f"{name}.{stage}.Layers.{count}"
        if stage + 1 < len(widths):
            judge.tensors[f"{last}.Resampler.Kernel"] = taps
            layer(judge, f"{last}.LinearLayer.Layer", widths[0], width, 1, 1)
        else:
            judge.add(f"{last}.Basis.weight", width, 1, 4, 4, scale=0.25)
            layer(judge, f"{last}.LinearLayer", width if conditional else 1, width)
    if conditional:
        layer(made, "Model.EmbeddingLayer", latent, CLASSES)
        layer(judge, "Model.EmbeddingLayer", widths[0], CLASSES)
    return made.tensors, judge.tensors


class Network:
    """The layers of a state dict."""

    def __init__(self, torch, tensors):
        self.torch = torch
        self.functional = torch.nn.functional
        self.tensors = {name: torch.tensor(tensor) for name, tensor in tensors.items()}

    def __contains__(self, name):
        return name in self.tensors

    def weight(self, name):
        """Divided by its largest singular value, by one iteration from u, as in evaluation."""
        weight = self.tensors[f"{name}.weight"]
        if f"{name}.u0" not in self:
            return weight
        matrix = weight.flatten(1)
        v = self.functional.normalize(self.tensors[f"{name}.u0"] @ matrix)
        u = self.functional.normalize(v @ matrix.T)
        return weight / (u @ matrix @ v.T).squeeze()

    def dense(self, name, x):
        return self.functional.linear(x, self.weight(name), self.tensors.get(f"{name}.bias"))

    def conv(self, name, x, groups=1):
        weight, bias = self.weight(name), self.tensors.get(f"{name}.bias")
        return self.functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)

    def norm(self, name, x, given=None):
        mean, var = (self.tensors[f"{name}.stored_{part}"] for part in ("mean", "var"))
        x = (x - mean[:, None, None]) / self.torch.sqrt(var + 1e-5)[:, None, None]
        if given is None:
            gain, bias = self.tensors[f"{name}.gain"], self.tensors[f"{name}.bias"]
        elif given.is_floating_point():
            gain, bias = 1 + self.dense(f"{name}.gain", given), self.dense(f"{name}.bias", given)
        else:
            gain = 1 + self.weight(f"{name}.gain")[given]
            bias = self.weight(f"{name}.bias")[given]
        return x * gain[..., None, None] + bias[..., None, None]

    def attend(self, name, x):
        pool = self.functional.max_pool2d
        query = self.conv(f"{name}.theta", x).flatten(2)
        key = pool(self.conv(f"{name}.phi", x), 2).flatten(2)
        value = pool(self.conv(f"{name}.g", x), 2).flatten(2)
        shares = self.torch.softmax(query.transpose(1, 2) @ key, -1)
        seen = (value @ shares.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.tensors[f"{name}.gamma"] * self.conv(f"{name}.o", seen)


def double(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def biggan_images(torch, tensors, z, labels, depth=0):
    net, relu = Network(torch, tensors), torch.relu
    blocks = 2 * max(1, depth)
    given = [labels] * blocks
    if "shared.weight" in net:
        embedded = net.tensors["shared.weight"][labels]
        if depth:
            z = torch.cat([embedded, z], 1)
            given = [z] * blocks
        else:
            z, *parts = z.chunk(blocks + 1, 1)
            given = [torch.cat([embedded, part], 1) for part in parts]
    x = net.dense("linear", z).unflatten(1, (-1, 2, 2))
    for block, own in enumerate(given):
        name = f"blocks.{block}.0"
        if depth:
            grow = double if block % depth == depth - 1 else (lambda x: x)
            y = net.conv(f"{name}.conv1", relu(net.norm(f"{name}.bn1", x, own)))
            y, x = grow(relu(net.norm(f"{name}.bn2", y, own))), grow(x)
            y = relu(net.norm(f"{name}.bn3", net.conv(f"{name}.conv2", y), own))
            y = relu(net.norm(f"{name}.bn4", net.conv(f"{name}.conv3", y), own))
            x = x + net.conv(f"{name}.conv4", y)
        else:
            y = net.conv(f"{name}.conv1", double(relu(net.norm(f"{name}.bn1", x, own))))
            y = net.conv(f"{name}.conv2", relu(net.norm(f"{name}.bn2", y, own)))
            x = y + net.conv(f"{name}.conv_sc", double(x))
        if f"blocks.{block}.1.gamma" in net:
            x = net.attend(f"blocks.{block}.1", x)
    return torch.tanh(net.conv("output_layer.2", relu(net.norm("output_layer.0", x))))


def biggan_logits(torch, tensors, images, labels, depth=0):
    net, relu, pool = Network(torch, tensors), torch.relu, torch.nn.functional.avg_pool2d
    x = net.conv("input_conv", images) if depth else images
    for block in range(3 if depth else 4):
        for place in range(max(1, depth)):
            name = f"blocks.{block}.{place}"
            halves = block < 2 and place == 0
            if depth:
                y = net.conv(f"{name}.conv1", relu(x))
                y = relu(net.conv(f"{name}.conv3", relu(net.conv(f"{name}.conv2", relu(y)))))
                y, x = (pool(y, 2), pool(x, 2)) if halves else (y, x)
                x = x + net.conv(f"{name}.conv4", y)
            else:
                y = net.conv(f"{name}.conv1", relu(x) if block else x)
                y = net.conv(f"{name}.conv2", relu(y))
                x = net.conv(f"{name}.conv_sc", x) if block < 2 else x
                x = pool(x + y, 2) if halves else x + y
        if f"blocks.{block}.{max(1, depth)}.gamma" in net:
            x = net.attend(f"blocks.{block}.{max(1, depth)}", x)
    features = relu(x).sum((2, 3))
    return net.dense("linear", features)[:, 0] + (net.weight("embed")[labels] * features).sum(1)


def _residual(net, name, x):
    leak = torch_leak(net)
    group = net.weight(f"{name}.LinearLayer2.Layer").shape[1]
    y = net.conv(f"{name}.LinearLayer1.Layer", x)
    y = leak(y + net.tensors[f"{name}.NonLinearity1.Bias"][:, None, None])
    y = net.conv(f"{name}.LinearLayer2.Layer", y, groups=y.shape[1] // group)
    y = leak(y + net.tensors[f"{name}.NonLinearity2.Bias"][:, None, None])
    return x + net.conv(f"{name}.LinearLayer3.Layer", y)


def torch_leak(net):
    return lambda x: net.functional.leaky_relu(x, 0.2)


def _filter(net, name, x, grows):
    kernel = net.tensors[f"{name}.Resampler.Kernel"]
    kernel = kernel.expand(x.shape[1], 1, 4, 4)
    if grows:
        return net.functional.conv_transpose2d(x, 4 * kernel, None, 2, 1, groups=x.shape[1])
    return net.functional.conv2d(x, kernel, None, 2, 1, groups=x.shape[1])


def r3gan_images(torch, tensors, z, labels, depth=0):
    net = Network(torch, {name.removeprefix("Model."): x for name, x in tensors.items()})
    if labels is not None:
        z = torch.cat([z, net.weight("EmbeddingLayer").T[labels]], 1)
    x = net.tensors["MainLayers.0.Layers.0.Basis"]
    x = x * net.dense("MainLayers.0.Layers.0.LinearLayer", z)[..., None, None]
    for name in ("MainLayers.0.Layers.1", "MainLayers.0.Layers.2"):
        x = _residual(net, name, x)
    x = net.conv("MainLayers.1.Layers.0.LinearLayer.Layer", x)
    x = _filter(net, "MainLayers.1.Layers.0", x, grows=True)
    x = _residual(net, "MainLayers.1.Layers.1", x)
    return net.conv("AggregationLayer.Layer", x).clamp(-1, 1)


def r3gan_logits(torch, tensors, images, labels, depth=0):
    net = Network(torch, {name.removeprefix("Model."): x for name, x in tensors.items()})
    x = net.conv("ExtractionLayer.Layer", images)
    x = _residual(net, "MainLayers.0.Layers.0", x)
    x = _filter(net, "MainLayers.0.Layers.1", x, grows=False)
    x = net.conv("MainLayers.0.Layers.1.LinearLayer.Layer", x)
    for name in ("MainLayers.1.Layers.0", "MainLayers.1.Layers.1"):
        x = _residual(net, name, x)
    basis = net.weight("MainLayers.1.Layers.2.Basis")[:, 0]
    x = net.dense("MainLayers.1.Layers.2.LinearLayer", (x * basis).sum((2, 3)))
    if labels is None:
        return x[:, 0]
    return (x * net.weight("EmbeddingLayer").T[labels]).sum(1)
