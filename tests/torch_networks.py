"""PyTorch networks of every kind that the tests differentiate, as data."""

import contextlib

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


@contextlib.contextmanager
def one_thread():
    """One thread: such small operations run ten times slower on several busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Residual(nn.Module):
    """Convolutions with strides, dilation and 'same' padding, batch norms, activations in place."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding="same", dilation=2, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, (3, 2), padding="same")
        self.bn2 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)  # one module, called twice
        self.down = nn.Conv2d(4, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        first = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(first))
        out += first
        return self.head(self.down(self.relu(out)).mean((2, 3)))


class Sequences(nn.Module):
    """A transformer layer over positions, batch first or second."""

    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=batch_first)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        if self.batch_first:
            return self.head(self.norm(self.layer(x)).mean(1))
        return self.head(self.norm(self.layer(x.transpose(0, 1))).mean(0))


class CausalAttention(nn.Module):
    """Attention of separate linear projections through scaled_dot_product_attention."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.out = nn.Linear(6, 6)
        self.norm = nn.RMSNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        n, t, d = x.shape
        heads = self.qkv(x).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, d))
        return self.head(self.norm(x))[:, -1]


class TiedLanguageModel(nn.Module):
    """Next-token scores with one table at both ends."""

    def __init__(self, padding_idx=None):
        super().__init__()
        self.embed = nn.Embedding(9, 6, padding_idx=padding_idx)
        self.position = nn.Parameter(torch.randn(5, 6))
        self.mix = nn.Linear(6, 6)
        self.out = nn.Linear(6, 9, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, ids):
        return self.out(torch.tanh(self.mix(self.embed(ids) + self.position)).mean(1))


class Text(nn.Module):
    """Embedded tokens, summed, with a padding row that is not zero."""

    def __init__(self, **options):
        super().__init__()
        self.embed = nn.Embedding(9, 6, padding_idx=2, **options)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.embed.weight[2] = 1.0

    def forward(self, ids):
        return self.head(torch.tanh(self.embed(ids)).sum(1))


class Twice(nn.Module):
    """One layer used twice, in one forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.layer(torch.tanh(self.layer(x))))


class TiedLinear(nn.Module):
    """Two layers that share their weight, not their bias."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Bare(nn.Module):
    """Parameters that belong to no layer."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(5, 4))
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.scale * (x @ self.matrix)))


class OverwrittenViews(nn.Module):
    """Activations in place on outputs that are views: linear layers over positions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Linear(6, 3)

    def forward(self, x):
        return self.second(self.relu(self.first(x))).mean(1)


class JoinedPositions(nn.Module):
    """Positions joined to the batch axis before a layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.second = nn.Linear(6, 3)

    def forward(self, x):
        hidden = torch.tanh(self.first(x.reshape(-1, 5)))
        return self.second(hidden.reshape(x.shape[0], -1, 6).mean(1))


class Functional(nn.Module):
    """A layer whose weight is used without calling it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(functional.linear(x, self.first.weight, self.first.bias)))


class Unused(nn.Module):
    """A layer that is called for nothing."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)
        self.other = nn.Linear(5, 2)

    def forward(self, x):
        self.other(x)
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(5, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class UntransformableSquare(torch.autograd.Function):
    """x², in the older form that function transforms and forward mode refuse."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class Untransformable(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.shift = nn.Parameter(torch.randn(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(UntransformableSquare.apply(self.first(x) + self.shift))


class DoubledLinear(nn.Linear):
    """A linear layer that lies: its output is twice as large."""

    def forward(self, x):
        return 2 * super().forward(x)


class PatchedLinear(nn.Linear):
    """A linear layer whose weight is scaled on its way into the forward it inherits."""

    def __getattr__(self, name):
        value = super().__getattr__(name)
        return 3 * value if name == "weight" else value


def dense_relu():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 6), nn.Linear(6, 3))


def dense_tanh():
    return nn.Sequential(nn.Linear(5, 7, bias=False), nn.Tanh(), nn.Linear(7, 3))


def dense_gelu():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 7), nn.LayerNorm(7), nn.GELU(), nn.Linear(7, 3))


def signals():
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, padding="same", dilation=2, padding_mode="reflect"),
        nn.BatchNorm1d(4),
        nn.SiLU(),
        nn.Conv1d(4, 4, 3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(20, 3),
        nn.BatchNorm1d(3),
    )


def grouped():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="circular"),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, groups=6, stride=2),
        nn.Flatten(),
        nn.Linear(24, 2),
    )


def volumes():
    return nn.Sequential(
        nn.Conv3d(1, 3, (2, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1)),
        nn.BatchNorm3d(3),
        nn.Tanh(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(3, 2),
    )


def upsampled():
    return nn.Sequential(
        nn.ConvTranspose2d(2, 3, 3),
        nn.InstanceNorm2d(3, affine=True),
        nn.PReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def transposed_signals():
    return nn.Sequential(
        nn.ConvTranspose1d(2, 4, 4, stride=3, padding=2, output_padding=1),
        nn.Tanh(),
        nn.ConvTranspose1d(4, 4, 3, stride=1, dilation=2, bias=False),
        nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
        nn.PReLU(4),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def transposed_volumes():
    return nn.Sequential(
        nn.ConvTranspose3d(
            12, 2, (1, 2, 3), stride=(1, 1, 2), padding=(0, 1, 0), output_padding=(0, 0, 1), dilation=(1, 2, 1)
        ),
        nn.SiLU(),
        nn.AdaptiveAvgPool3d((1, 1, 3)),
        nn.Flatten(),
        nn.Linear(6, 2),
    )


def transposed_groups():
    return nn.Sequential(
        nn.ConvTranspose2d(4, 6, (3, 2), stride=(1, 2), groups=2),
        nn.Tanh(),
        nn.ConvTranspose2d(6, 6, 2, groups=6, padding=1, dilation=2, output_padding=1),
        nn.Flatten(),
        nn.Linear(252, 2),
    )


def depthwise():
    return nn.Sequential(
        nn.Conv1d(3, 6, 3, groups=3, dilation=2, bias=False),
        nn.Tanh(),
        nn.Conv1d(6, 4, 1, stride=2),
        nn.GroupNorm(4, 4),
        nn.Flatten(),
        nn.Linear(12, 2),
    )


class Bilinear(nn.Module):
    """A product of two features."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.product = nn.Bilinear(5, 4, 3)

    def forward(self, x):
        return self.product(x, torch.tanh(self.first(x)))


class Bag(nn.Module):
    """Sums, averages or maxima of embedded tokens."""

    def __init__(self, mode, padding_idx=None):
        super().__init__()
        self.bag = nn.EmbeddingBag(9, 4, mode=mode, padding_idx=padding_idx)
        self.head = nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(torch.tanh(self.bag(ids)))


class Checkpointed(nn.Module):
    """A block whose activations are computed again on the way back."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(x + torch.utils.checkpoint.checkpoint(self.block, x, use_reentrant=False))


class Gated(nn.Module):
    """A recurrent network of gated units."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(5, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.cell(x.transpose(0, 1))[0][-1])


def parametrised(parametrisation):
    layer = parametrisation(nn.Linear(5, 6))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(6, 3))


def doubled():
    return nn.Sequential(DoubledLinear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def patched():
    net = nn.Sequential(PatchedLinear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    with torch.no_grad():  # the layer itself wrote its first numbers into a product
        net[0]._parameters["weight"].normal_()
    return net


def hooked():
    net = dense_tanh()
    net[0].register_forward_hook(_doubled)
    net[2].register_forward_pre_hook(_tripled)
    return net


def _doubled(_layer, _inputs, output):
    return 2 * output + 1


def _tripled(_layer, inputs):
    return (3 * inputs[0],)


NETWORKS = {
    "dense-relu-inplace": (dense_relu, (5,)),
    "dense-tanh": (dense_tanh, (5,)),
    "dense-gelu-layer-norm": (dense_gelu, (2, 5)),
    "residual": (Residual, (2, 6, 6)),
    "signals": (signals, (2, 10)),
    "volumes": (volumes, (1, 3, 4, 3)),
    "grouped-convolution": (grouped, (4, 6, 6)),
    "transposed-convolution": (upsampled, (2, 5, 5)),
    "transposed-convolution-of-signals": (transposed_signals, (2, 4)),
    "transposed-convolution-of-volumes": (transposed_volumes, (12, 1, 3, 2)),
    "transposed-convolution-in-groups": (transposed_groups, (4, 3, 3)),
    "depthwise-convolution": (depthwise, (3, 9)),
    "bilinear": (Bilinear, (5,)),
    "checkpointed": (Checkpointed, (5,)),
    "gated-units": (Gated, (4, 5)),
    "transformer-batch-first": (lambda: Sequences(True), (4, 8)),
    "transformer-batch-second": (lambda: Sequences(False), (4, 8)),
    "transformer-as-long-as-the-batch": (lambda: Sequences(False), (5, 8)),
    "causal-attention": (CausalAttention, (4, 6)),
    "recurrent": (Recurrent, (4, 5)),
    "module-used-twice": (Twice, (5,)),
    "tied-linear": (TiedLinear, (5,)),
    "bare-parameters": (Bare, (5,)),
    "overwritten-views": (OverwrittenViews, (4, 5)),
    "joined-positions": (JoinedPositions, (4, 5)),
    "functional-use": (Functional, (5,)),
    "unused-layer": (Unused, (5,)),
    "weight-norm": (lambda: parametrised(parametrizations.weight_norm), (5,)),
    "spectral-norm": (lambda: parametrised(parametrizations.spectral_norm), (5,)),
    "orthogonal": (lambda: parametrised(parametrizations.orthogonal), (5,)),
    "untransformable": (Untransformable, (5,)),
    "lying-subclass": (doubled, (5,)),
    "lying-attribute": (patched, (5,)),
    "hooked": (hooked, (5,)),
    "text": (Text, 6),
    "text-renormalised": (lambda: Text(max_norm=1.0), 6),
    "tied-language-model": (TiedLanguageModel, 5),
    "tied-language-model-with-padding": (lambda: TiedLanguageModel(padding_idx=0), 5),
}
"""Name to (maker, shape of one input); a length instead of a shape means token ids."""


def network(name, seed=0):
    """A network in evaluation mode, its running statistics and affine parameters not trivial."""
    torch.manual_seed(seed)
    net = NETWORKS[name][0]()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
            if isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
                layer.weight.normal_()
                layer.weight[:1] = 0.0  # dividing by the weight would show
                layer.bias.normal_()
    return net.eval()


def batch(name, n=5, seed=1):
    """Inputs for the network ``name``."""
    shape = NETWORKS[name][1]
    generator = torch.Generator().manual_seed(seed)
    if isinstance(shape, int):
        return torch.randint(0, 9, (n, shape), generator=generator)
    return torch.randn((n, *shape), generator=generator)
