"""ResNet-50 as an encoder: torchvision's network, whatever file it came in."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from trainers import weights
from trainers.config import InputError
from trainers.modules import classifier, encoders, resnet, segmentation
from trainers.modules.vit import EncoderSize, build_encoder
from trainers.resnets import ResNetSize, shapes

TINY = ResNetSize(width=4)


def test_it_has_torchvisions_tensors_and_computes_what_torchvisions_does():
    torch.manual_seed(0)
    theirs, ours = resnet50().eval(), resnet.build_encoder(ResNetSize()).eval()
    state = {n: t for n, t in theirs.state_dict().items() if not n.startswith("fc.")}
    assert ours.load_state_dict(state, strict=True)
    stages = create_feature_extractor(theirs, [f"layer{i}" for i in range(1, 5)])
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = resnet.stages(ours, image)
        for mine, its in zip(maps, stages(image).values(), strict=True):
            torch.testing.assert_close(mine, its)
    assert tuple(m.shape[1] for m in maps) == ResNetSize().widths == (256, 512, 1024, 2048)
    assert [m.shape[2] for m in maps] == [16, 8, 4, 2]


def test_the_table_of_shapes_is_that_of_the_network():
    for size in (ResNetSize(), TINY, ResNetSize(width=16)):
        with torch.device("meta"):
            built = resnet.build_encoder(size).state_dict()
        plain = {n: tuple(t.shape) for n, t in built.items() if "num_batches" not in n}
        assert shapes(size.width) == plain


def counted(state):
    """As a Sequential of torchvision's children would have saved them, beside a text branch."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    return {
        f"res_features.{places[name.split('.')[0]]}.{name.partition('.')[2]}": tensor
        for name, tensor in state.items()
    } | {"res_l1.weight": torch.zeros(2, 2), "bert_model.pooler.dense.bias": torch.zeros(2)}


LAYOUTS = {
    "torchvision": (lambda s: {**s, "fc.weight": torch.zeros(5, 128)}, "resnet"),
    "timm": (lambda s: {"state_dict": s}, "resnet"),
    "parallel": (lambda s: {f"module.{n}": t for n, t in s.items()}, "resnet"),
    "prefixed": (lambda s: {"model": {f"visual.model.{n}": t for n, t in s.items()}}, "resnet"),
    "old": (lambda s: {n: t for n, t in s.items() if "num_batches" not in n}, "resnet"),
    "convirt": (counted, "convirt"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_network_that_was_put_into_it(tmp_path, layout):
    torch.manual_seed(1)
    made = resnet.build_encoder(TINY)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.6)
    write, kind = LAYOUTS[layout]
    torch.save(write(made.state_dict()), tmp_path / "weights.pth")
    state, size, report = weights.load_encoder(tmp_path / "weights.pth")
    assert (size, report.kind, report.missing) == (TINY, kind, ())
    other = resnet.build_encoder(TINY).eval()
    weights.fit_encoder(other, state, size)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            encoders.summarise(other, image), encoders.summarise(made.eval(), image)
        )


def test_an_encoder_file_says_that_it_is_a_resnet_and_loads_into_timms(tmp_path):
    made = resnet.build_encoder(ResNetSize())
    content = weights.encoder_content(made, ResNetSize(), config={"method": "convirt"}, step=1)
    assert content["size"] == {"network": "resnet50", "width": 64}
    torch.save(content, tmp_path / "encoder.pt")
    _, size, report = weights.load_encoder(tmp_path / "encoder.pt")
    assert (size, report.kind) == (ResNetSize(), "cxrlab")
    timm.create_model("resnet50", num_classes=0).load_state_dict(content["model"], strict=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("layer3.5.conv2.weight"), r"lacks `layer3.5.conv2.weight` of a ResNet-50"),
        (lambda s: s.update({"layer1.0.se.weight": torch.ones(1)}), "no part of a plain ResNet-50"),
        (lambda s: s.update({"layer2.0.bn1.bias": torch.ones(3)}), r"is \(3,\); expected \(8,\)"),
        (lambda s: s["bn1.running_var"].fill_(torch.nan), "not finite"),
    ],
)
def test_a_tensor_that_cannot_be_right_is_refused(tmp_path, change, named):
    state = resnet.build_encoder(TINY).state_dict()
    change(state)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match=named):
        weights.load_encoder(tmp_path / "x.pth")


def test_a_resnet_of_another_depth_is_refused(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"lacks .* of a ResNet-50"):
        weights.load_encoder(tmp_path / "x.pth")


def test_weights_of_another_kind_or_width_are_refused():
    vit = build_encoder(
        EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=1, num_heads=2),
        fixed_positions=True,
    )
    state = resnet.build_encoder(TINY).state_dict()
    with pytest.raises(InputError, match="expected a vision transformer"):
        weights.fit_encoder(vit, state, TINY)
    with pytest.raises(InputError, match="expected a ResNet-50"):
        weights.fit_encoder(resnet.build_encoder(TINY), vit.state_dict(), EncoderSize())
    with pytest.raises(InputError, match="`width` 4 there, 8 here"):
        weights.fit_encoder(resnet.build_encoder(ResNetSize(width=8)), state, TINY)


def test_a_classifier_over_a_resnet_is_torchvisions_network_with_its_own_layer():
    torch.manual_seed(0)
    made = classifier.Classifier(classifier.Config(image_px=50), ResNetSize(), classes=3).eval()
    nn.init.normal_(made.head.weight)
    theirs = resnet50(num_classes=3).eval()
    state = {n.removeprefix("encoder."): t for n, t in made.state_dict().items()}
    theirs.load_state_dict({n.replace("head.", "fc."): t for n, t in state.items()})
    image = torch.randn(2, 3, 50, 50)
    with torch.no_grad():
        torch.testing.assert_close(made.scores(image), theirs(image))


def test_a_segmenter_over_a_resnet_trains_all_of_it_and_answers_at_the_images_size():
    config = segmentation.Config(image_px=48, channels=8, aux_channels=4)
    made = segmentation.Segmenter(config, TINY).train()
    given = {"image": torch.randn(2, 3, 48, 48), "mask": torch.randint(0, 2, (2, 48, 48))}
    sum(made(given).values()).backward()
    assert [n for n, p in made.named_parameters() if p.grad is None] == []
    assert made.eval().predict(given)["margin"].shape == (2, 48, 48)
    assert not hasattr(made, "pyramid")
