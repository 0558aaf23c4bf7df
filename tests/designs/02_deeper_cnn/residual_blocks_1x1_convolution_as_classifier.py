# title = "Residual blocks, a 1×1 convolution as classifier"
# %% deeper-cnn-solution
class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.one, self.two = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.n1, self.n2 = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
        self.short = nn.Conv2d(a, b, 1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.n2(self.two(F.relu(self.n1(self.one(x))))) + self.short(x)), 2)


class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.body = nn.Sequential(Block(3, 32), Block(32, 64), Block(64, 128), Block(128, 256))
        self.drop, self.last = nn.Dropout(0.5), nn.Conv2d(256, num_classes, 1)

    def forward(self, x):
        return self.last(self.drop(self.body(x).mean((2, 3), keepdim=True))).flatten(1)
