%%time
class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.blocks = nn.Sequential(*(SimpleCNN.block(a, b) for a, b in zip(WIDTHS, WIDTHS[1:])))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(1024, num_classes)

    def forward(self, x):
        x = self.blocks(x)
        x = x.view(x.size(0), -1)
        return self.classifier(self.dropout(x))
