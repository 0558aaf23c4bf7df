# title = "Normalises inside, a hidden layer in the head"
# %% modern-cnn-solution
class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.stages = nn.Sequential(ResidualBlock(32, 64, stride=2), ResidualBlock(64, 96, stride=2))
        self.classifier = nn.Sequential(
            nn.Linear(96, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, num_classes)
        )

    def forward(self, x):
        x = self.stages(self.stem((x - 0.5) / 0.25))
        x = x.mean((2, 3))
        return self.classifier(x)
