full = nn.Conv2d(64, 128, 3, bias=False)
thin = nn.ModuleList([nn.Conv2d(64, 64, 3, groups=64, bias=False), nn.Conv2d(64, 128, 1, bias=False)])
answer_standard_weights = sum(p.numel() for p in full.parameters())
answer_separable_weights = sum(p.numel() for p in thin.parameters())
