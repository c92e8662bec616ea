"""The ledger against PyTorch's own counter of operations: every pass of a network that anything asks for."""

import pytest

torch = pytest.importorskip("torch")
flop_counter = pytest.importorskip("torch.utils.flop_counter")


POINTS, KEPT, OUTPUTS = 24, 12, 3


class Attention(torch.nn.Module):
    """A transformer of one layer on 16 positions."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = torch.nn.Linear(32, OUTPUTS)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))
