# title = "Inherits from SimpleCNN"
# %% deeper-cnn-solution
class DeeperCNN(SimpleCNN):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.block4 = self.block(128, 256)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, x):
        x = self.block4(self.block3(self.block2(self.block1(x))))
        return self.classifier(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
