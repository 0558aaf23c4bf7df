# title = "Layers from a table of factories: partial, lambda, a ModuleDict"
# %% a table
from functools import partial

same_size = partial(nn.Conv2d, kernel_size=3, padding="same")
LAYERS = {
    "convolution": same_size,
    "norm": lambda inputs, outputs: nn.BatchNorm2d(outputs),
    "relu": lambda *_: nn.ReLU(inplace=True),
    "pool": lambda *_: nn.MaxPool2d(kernel_size=2, stride=2),
}

# %% deeper-cnn-solution
class DeeperCNN(nn.Module):
    widths = 3, 32, 64, 128, 256

    def __init__(self, num_classes=10):
        super().__init__()
        steps = list(zip(self.widths[:-1], self.widths[1:]))
        self.blocks = nn.ModuleDict(
            {f"block{n}": nn.Sequential(*[make(i, o) for make in LAYERS.values()]) for n, (i, o) in enumerate(steps)}
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(p=0.3))
        self.fc = nn.Linear(in_features=self.widths[-1], out_features=num_classes)

    def forward(self, images):
        for block in self.blocks.values():
            images = block(images)
        return self.fc(self.head(images))
