# title = "Group norm beside batch norm, leaky ReLU, average pooling"
# %% deeper-cnn-solution
class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = nn.ModuleList()
        channels = 3
        for width in (32, 64, 128, 256):
            self.layers.append(nn.Conv2d(channels, width, 3, padding=1))
            self.layers.append(nn.BatchNorm2d(width))
            self.layers.append(nn.LeakyReLU(0.1))
            self.layers.append(nn.Conv2d(width, width, 3, padding=1))
            self.layers.append(nn.GroupNorm(8, width))
            self.layers.append(nn.LeakyReLU(0.1))
            self.layers.append(nn.AvgPool2d(2))
            channels = width
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(256, num_classes)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        x = self.pool(x)
        x = torch.flatten(x, start_dim=1)
        x = self.dropout(x)
        return self.out(x)
