# title = "torchvision's MobileNetV3, which ends in 1×1 maps"
# %% modern-cnn-solution
from torchvision.models import mobilenet_v3_small


def ModernCNN(num_classes=10):
    return mobilenet_v3_small(num_classes=num_classes)
