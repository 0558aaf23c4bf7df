# title = "Channels last in the head"
# %% deeper-cnn-solution
class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        widths = [3, 32, 64, 128, 256]
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.SiLU())
            for a, b in zip(widths, widths[1:])
        )
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, x):
        for block in self.features:
            x = block(x)
        x = x.permute(0, 2, 3, 1)
        return self.classifier(self.dropout(x.mean(dim=(1, 2))))
