"""Official networks as functions of their state dicts, in PyTorch, and random state dicts of them.

Written from the papers and the authors' modules, to compare imported weights with.
"""

import numpy as np

CLASSES = 10
TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


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
            made.tensors[f"{name}.{stage}.Layers.0.Resampler.Kernel"] = TAPS
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
            judge.tensors[f"{last}.Resampler.Kernel"] = TAPS
            layer(judge, f"{last}.LinearLayer.Layer", widths[0], width, 1, 1)
        else:
            judge.add(f"{last}.Basis.weight", width, 1, 4, 4, scale=0.25)
            layer(judge, f"{last}.LinearLayer", width if conditional else 1, width)
    if conditional:
        layer(made, "Model.EmbeddingLayer", latent, CLASSES)
        layer(judge, "Model.EmbeddingLayer", widths[0], CLASSES)
    return made.tensors, judge.tensors


def stylegan2(seed, width=4, style=5, latent=3):
    """G and D for images of 8 x 8 x 1, with labels; twice the channels at 4 x 4."""
    made, judge = Weights(seed), Weights(seed + 1)
    channels = {4: 2 * width, 8: width}

    def dense(of, name, outputs, inputs):
        of.add(f"{name}.weight", outputs, inputs)
        of.add(f"{name}.bias", outputs, scale=0.3)

    def mapping(of, size, first):
        dense(of, "mapping.embed", size, CLASSES)
        dense(of, "mapping.fc0", size, first + size)
        dense(of, "mapping.fc1", size, size)
        for name in ("mapping.fc0", "mapping.fc1"):
            of.tensors[f"{name}.weight"] *= 100

    def conv(of, name, outputs, inputs, side, bias=True):
        of.add(f"{name}.weight", outputs, inputs, side, side)
        if bias:
            of.add(f"{name}.bias", outputs, scale=0.3)
        of.tensors[f"{name}.resample_filter"] = TAPS

    mapping(made, style, latent)
    made.add("mapping.w_avg", style)
    made.add("synthesis.b4.const", channels[4], 4, 4)
    layers = {"b4.conv1": (4, 4), "b8.conv0": (4, 8), "b8.conv1": (8, 8)}
    for name, (before, side) in layers.items():
        name = f"synthesis.{name}"
        conv(made, name, channels[side], channels[before], 3)
        dense(made, f"{name}.affine", channels[before], style)
        made.add(f"{name}.noise_const", side, side)
        made.add(f"{name}.noise_strength", scale=0.3)
    for side in channels:
        name = f"synthesis.b{side}"
        made.tensors[f"{name}.resample_filter"] = TAPS
        made.add(f"{name}.torgb.weight", 1, channels[side], 1, 1, scale=0.3)
        made.add(f"{name}.torgb.bias", 1, scale=0.3)
        dense(made, f"{name}.torgb.affine", channels[side], style)

    mapping(judge, channels[4], 0)
    judge.tensors["b8.resample_filter"] = TAPS
    conv(judge, "b8.fromrgb", channels[8], 1, 1)
    conv(judge, "b8.conv0", channels[8], channels[8], 3)
    conv(judge, "b8.conv1", channels[4], channels[8], 3)
    conv(judge, "b8.skip", channels[4], channels[8], 1, bias=False)
    conv(judge, "b4.conv", channels[4], channels[4] + 1, 3)
    dense(judge, "b4.fc", channels[4], 16 * channels[4])
    dense(judge, "b4.out", channels[4], channels[4])
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


def _scaled(net, name, x, rate=1.0):
    """A dense layer whose weights are scaled when they are used."""
    weight, bias = net.tensors[f"{name}.weight"], net.tensors[f"{name}.bias"]
    return x @ weight.T * rate / weight.shape[1] ** 0.5 + rate * bias


def _activate(net, x, name=None):
    if name is not None:
        x = x + net.tensors[f"{name}.bias"][:, None, None]
    return 2**0.5 * net.functional.leaky_relu(x, 0.2)


def _to_w(net, z, labels):
    def unit(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    one_hot = net.functional.one_hot(labels, CLASSES).float()
    parts = [unit(_scaled(net, "mapping.embed", one_hot))]
    x = net.torch.cat(parts if z is None else [unit(z), *parts], 1)
    for name in ("mapping.fc0", "mapping.fc1"):
        x = _activate(net, _scaled(net, name, x, 0.01))
    return x


def _blur(net, x, before, behind, gain=1):
    kernel = gain * net.torch.tensor(TAPS).expand(x.shape[1], 1, 4, 4)
    padded = net.functional.pad(x, (before, behind) * 2)
    return net.functional.conv2d(padded, kernel, groups=x.shape[1])


def _zeros_between(x):
    wide = x.new_zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    wide[:, :, ::2, ::2] = x
    return wide


def _styled(net, name, x, w, up=False, image=False):
    """Each example has a kernel of its own."""
    weight = net.tensors[f"{name}.weight"]
    style = _scaled(net, f"{name}.affine", w)
    weight = weight * style[:, None, :, None, None]
    if image:
        weight = weight / weight.shape[2] ** 0.5
    else:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    padding = 0 if up else weight.shape[-1] // 2
    if up:
        x, weight = _blur(net, _zeros_between(x), 3, 2, 4), weight.flip(3, 4)
    pairs = zip(x, weight, strict=True)
    y = [net.functional.conv2d(one[None], own, padding=padding) for one, own in pairs]
    y = net.torch.cat(y)
    if image:
        return y + net.tensors[f"{name}.bias"][:, None, None]
    y = y + net.tensors[f"{name}.noise_strength"] * net.tensors[f"{name}.noise_const"]
    return _activate(net, y, name)


def stylegan2_images(torch, tensors, z, labels, depth=0):
    net = Network(torch, tensors)
    w = _to_w(net, z, labels)
    x = net.tensors["synthesis.b4.const"].expand(len(z), -1, -1, -1)
    x = _styled(net, "synthesis.b4.conv1", x, w)
    image = _styled(net, "synthesis.b4.torgb", x, w, image=True)
    x = _styled(net, "synthesis.b8.conv0", x, w, up=True)
    x = _styled(net, "synthesis.b8.conv1", x, w)
    image = _blur(net, _zeros_between(image), 2, 1, 4)
    return (image + _styled(net, "synthesis.b8.torgb", x, w, image=True)).clamp(-1, 1)


def stylegan2_logits(torch, tensors, images, labels, depth=0):
    net = Network(torch, tensors)

    def conv(name, x, stride=1, padding=0):
        weight = net.tensors[f"{name}.weight"]
        weight = weight / weight[0].numel() ** 0.5
        return net.functional.conv2d(x, weight, stride=stride, padding=padding)

    x = _activate(net, conv("b8.fromrgb", images), "b8.fromrgb")
    y = _activate(net, conv("b8.conv0", x, padding=1), "b8.conv0")
    y = _activate(net, conv("b8.conv1", _blur(net, y, 2, 2), stride=2), "b8.conv1")
    x = (y + conv("b8.skip", _blur(net, x, 1, 1), stride=2)) / 2**0.5
    groups = x.unflatten(0, (4, -1))
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3)).repeat(4)
    x = torch.cat([x, deviation[:, None, None, None].expand(-1, 1, 4, 4)], 1)
    x = _activate(net, conv("b4.conv", x, padding=1), "b4.conv")
    x = _scaled(net, "b4.out", _activate(net, _scaled(net, "b4.fc", x.flatten(1))))
    return (x * _to_w(net, None, labels)).sum(1) / x.shape[1] ** 0.5
