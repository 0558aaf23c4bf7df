class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.blocks = nn.Sequential(
            SimpleCNN.block(3, 32),
            SimpleCNN.block(32, 64),
            SimpleCNN.block(64, 128),
            SimpleCNN.block(128, 128),
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, x):
        x = self.blocks(x).mean(dim=(2, 3))
        return self.classifier(self.dropout(x))
