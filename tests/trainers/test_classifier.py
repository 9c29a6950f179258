"""Is the classifier the one MRM fine-tunes?"""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import log_loss
from timm.models.vision_transformer import VisionTransformer

from trainers.config import ConfigError
from trainers.modules import classifier
from trainers.modules.vit import NORM, EncoderSize

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=3, num_heads=2)
CONFIG = classifier.Config(image_px=32)


def model_and_image(classes: int = 2) -> tuple[classifier.Classifier, torch.Tensor]:
    torch.manual_seed(0)
    model = classifier.Classifier(CONFIG, SIZE, classes=classes).eval()
    torch.nn.init.normal_(model.head.weight)
    return model, torch.randn(4, 3, 32, 32)


def test_it_is_timms_transformer_with_average_pooling():
    model, image = model_and_image()
    theirs = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=2,
        global_pool="avg", norm_layer=NORM,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    state = {name.removeprefix("encoder."): value for name, value in model.state_dict().items()}
    result = theirs.load_state_dict(state, strict=False)
    assert result.missing_keys == []
    assert result.unexpected_keys == ["norm.weight", "norm.bias"]
    torch.testing.assert_close(model.scores(image), theirs(image))


def test_it_starts_undecided():
    torch.manual_seed(0)
    model = classifier.Classifier(classifier.Config(), EncoderSize(depth=1), classes=14)
    assert model.head.weight.std().item() == pytest.approx(2e-5, rel=0.1)
    assert model.head.weight.abs().max() > 0
    assert model.head.bias.abs().max() == 0


def test_the_loss_is_scikit_learns_log_loss():
    model, image = model_and_image(classes=1)
    label = torch.tensor([[0], [1], [1], [0]], dtype=torch.uint8)
    loss = model({"image": image, "label": label})["bce"].item()
    probability = model.scores(image).sigmoid().flatten().tolist()
    assert loss == pytest.approx(log_loss(label.flatten(), probability), abs=1e-6)


def test_every_trained_parameter_gets_a_gradient():
    model, image = model_and_image()
    model.train()({"image": image, "label": torch.ones(4, 2)})["bce"].backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    assert trained["encoder.pos_embed"].grad.abs().sum() > 0
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["encoder.norm.weight", "encoder.norm.bias"]


def test_confident_scores_do_not_become_ties():
    batch = {
        "name": ["a", "b"],
        "patient": ["1", "2"],
        "label": torch.tensor([[1], [0]], dtype=torch.uint8),
    }
    first, second = classifier.collect(batch, {"logit": torch.tensor([[20.0], [21.0]])})
    assert first.score < second.score < 1
    assert (first.name, second.patient) == ("a", "2")


def test_an_image_side_that_patches_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="`image_px` is 33"):
        classifier.Classifier(classifier.Config(image_px=33), SIZE, classes=1)
