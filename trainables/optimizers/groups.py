"""Which parameters weight decay applies to."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# The whole name: BatchNorm2d, SyncBatchNorm, RmsNorm are norms, a fused LayerNormLinear is not.
_NORM_TYPE = re.compile(r"\w*(batch|layer|group|instance|rms)_?norm(act)?([123]d)?", re.IGNORECASE)
# As timm, torchvision and transformers call them.
_EMBEDDING = re.compile(r"(cls|class|dist|reg)_token|pos(ition)?_embed(ding)?s?")


def weight_decay_groups(
    model: "torch.nn.Module", decay_embeddings: bool = True
) -> tuple[list["torch.nn.Parameter"], list["torch.nn.Parameter"]]:
    """The model's trainable parameters as (decayed, not decayed), each once, in the model's order.

    Not decayed are the parameters of normalisation layers and every bias.

    Args:
        model: Any model.
        decay_embeddings: If false, class tokens, position embeddings and whatever a module's own ``no_weight_decay()``
            names (names of parameters, ``*`` allowed) are not decayed either.

    Raises:
        ValueError: If the model has nothing to train.

    Source: arXiv:2106.14881v3, section 5.4 (no decay on norm gains and biases). That the two embeddings are decayed
    follows the paper's public code, where the choice is made by the words ``bn``, ``ln`` and ``bias`` in a name; we look
    at the layer's type instead, which gives the same groups for these models and holds for a user's model as well.
    ``no_weight_decay()`` is timm's convention, which DeiT relies on.
    """
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    seen: set[int] = set()
    exempt = () if decay_embeddings else _embedding_names(model)
    for path, module in model.named_modules():
        is_norm = any(_NORM_TYPE.fullmatch(cls.__name__) for cls in type(module).__mro__)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                spared = is_norm or name.endswith("bias") or _matches(_join(path, name), exempt)
                (plain if spared else decayed).append(parameter)
    if not seen:
        raise ValueError("the model has no trainable parameter; give it at least one with requires_grad")
    return decayed, plain


def _embedding_names(model: "torch.nn.Module") -> tuple[str, ...]:
    names = [name for name, _ in model.named_parameters() if _EMBEDDING.fullmatch(name.rpartition(".")[2])]
    for path, module in model.named_modules():
        own_names = getattr(module, "no_weight_decay", None)
        if callable(own_names):
            named: Iterable[str] = own_names()
            names += [_join(path, name) for name in named]
    return tuple(names)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
