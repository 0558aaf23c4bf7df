# title = "Plain ToTensor, because the model normalises itself"
# %% modern-cnn-solution
class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.block1 = ResidualBlock(32, 64, stride=2)
        self.block2 = ResidualBlock(64, 96, stride=2)
        self.classifier = nn.Linear(96, num_classes)

    def forward(self, x):
        x = (x - 0.5) / 0.25
        x = self.block2(self.block1(self.stem(x)))
        return self.classifier(x.mean(dim=(2, 3)))


# %% modern-cnn-transforms
from torchvision import transforms

train_transform = transforms.Compose([
    transforms.RandomCrop(32, padding=4),
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
])
test_transform = transforms.ToTensor()
