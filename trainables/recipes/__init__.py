"""How a member is trained: settings, schedule, augmentation, averaging."""
