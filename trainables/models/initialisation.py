"""Initial weights of the vision transformers.

The paper does not describe its initialisation and its public code has two. We follow the branch that holds the paper's own
ViT configurations (``vitconfigs``), because it is the one that was written for these models:

================  ===================================================
tensor            initial value
================  ===================================================
patchify conv     truncated normal, std sqrt(1 / fan_in); bias 0
stem convs        PyTorch's default
stem's last conv  normal, std sqrt(2 / out_channels); bias 0
queries, keys,    Xavier-uniform over the fused (3 D, D) matrix, as in
values            ``torch.nn.MultiheadAttention``; bias 0
attention output  PyTorch's default; bias 0
MLP               Xavier-uniform; bias N(0, 1e-6)
norms             gain 1, bias 0
class token       0
position          N(0, 0.02)
head              0
================  ===================================================

Source: facebookresearch/pycls, branch ``vitconfigs``; for queries, keys and values read as one matrix: own.
"""

import math
from typing import Any

from torch import nn

from trainables.models.stems import ConvStem, PatchifyStem


def initialise_vit(model: nn.Module) -> None:
    """Draws all weights of a timm ``VisionTransformer`` with one of our stems anew, from torch's global generator."""
    vit: Any = model  # timm's attributes are typed as Module | Tensor
    _initialise_stem(vit.patch_embed)
    for block in vit.blocks:
        nn.init.xavier_uniform_(block.attn.qkv.weight)
        nn.init.zeros_(block.attn.qkv.bias)
        nn.init.zeros_(block.attn.proj.bias)
        for layer in (block.mlp.fc1, block.mlp.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
    nn.init.zeros_(vit.cls_token)
    nn.init.normal_(vit.pos_embed, std=0.02)
    nn.init.zeros_(vit.head.weight)
    nn.init.zeros_(vit.head.bias)


def _initialise_stem(stem: PatchifyStem | ConvStem) -> None:
    if isinstance(stem, ConvStem):
        nn.init.normal_(stem.proj.weight, std=math.sqrt(2.0 / stem.proj.out_channels))
    else:
        nn.init.trunc_normal_(stem.proj.weight, std=math.sqrt(1.0 / stem.proj.weight[0].numel()))
    if stem.proj.bias is not None:
        nn.init.zeros_(stem.proj.bias)
