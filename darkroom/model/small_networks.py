"""The networks that are defined here, for small images: built for S px, they map (n, 3, S, S) to (n, D) features."""

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Six 3x3 convolutions with BatchNorm in three blocks, then the average over the map: 128 features, any size.

    177 thousand parameters. The widths keep most of the arithmetic off the full-size map, where it costs most.
    """

    features = 128

    def __init__(self, size: int) -> None:
        super().__init__()
        del size  # the average over the map takes any
        self.block1 = nn.Sequential(*_conv(3, 32), *_conv(32, 32))
        self.block2 = nn.Sequential(nn.MaxPool2d(2), *_conv(32, 64), *_conv(64, 64))
        self.block3 = nn.Sequential(nn.MaxPool2d(2), *_conv(64, 64), *_conv(64, self.features))

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 128)."""
        return self.block3(self.block2(self.block1(images))).mean((2, 3))


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling: 84 features; made for 28 px, its size is then fixed."""

    features = 84

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        side = (size // 2 - 4) // 2
        self.block3 = nn.Sequential(nn.Flatten(), nn.Linear(16 * side * side, 120), nn.ReLU())
        self.block4 = nn.Sequential(nn.Linear(120, self.features), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 84)."""
        return self.block4(self.block3(self.block2(self.block1(images))))


class SimpleCNN(nn.Module):
    """The tutorials' network for photos: three convolution blocks, then a dense layer with dropout: 128 features."""

    features = 128

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.block3 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        side = size // 8
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * side * side, self.features), nn.ReLU(), nn.Dropout(0.5)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 128)."""
        return self.dense(self.block3(self.block2(self.block1(images))))


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
