"""How does a method that rebuilds both branches of a record contrast them on the way?

Two projections and a loss beside those of the method. Image and report come masked, as they are
rebuilt. The report's vector must come from a pass that no image was added to: with it, each report
would carry its image's vector, and the contrast would be won by copying.

Shapes: B records of this process, D encoder width, H report width, P width of an embedding, T
report tokens, Q conditions.
"""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor, nn

from trainers.config import ConfigError
from trainers.modules import conditional, contrast, vit

Kind = Literal["none", "infonce", "conditional"]
Condition = Literal["text", "labels"]


class Settings(Protocol):
    """What a method's configuration says of its contrast."""

    contrast: Kind
    contrast_weight: float
    contrast_ramp: float
    contrast_dim: int
    temperature: float
    condition: Condition
    condition_table: str
    condition_columns: str
    condition_ridge: float


def check(config: Settings) -> None:
    """Refuse settings that no contrast can have.

    Raises:
        ConfigError: see above.
    """
    for name in ("contrast_weight", "contrast_ramp"):
        if getattr(config, name) < 0:
            raise ConfigError(f"`{name}` is {getattr(config, name)}; expected 0 or more")
    for name in ("temperature", "condition_ridge", "contrast_dim"):
        if getattr(config, name) <= 0:
            raise ConfigError(f"`{name}` is {getattr(config, name)}; expected more than 0")
    if config.condition == "labels" and not config.condition_columns.strip(" ,"):
        raise ConfigError("`condition_columns` is empty; `condition` labels needs a column")
    if config.condition == "labels" and config.contrast != "conditional":
        raise ConfigError(
            f"`condition` is labels, but `contrast` is {config.contrast}, not conditional"
        )
    if config.condition_table and config.condition != "labels":
        raise ConfigError("`condition_table` is given, but `condition` is text, not labels")


class RecordContrast(nn.Module):
    """The projections of image and report, and the loss of telling which belong together."""

    def __init__(self, config: Settings, *, embed_dim: int, report_dim: int) -> None:
        super().__init__()
        self.config = config
        self.image = projection(embed_dim, config.contrast_dim)
        self.report = projection(report_dim, config.contrast_dim)
        vit.initialise(self)

    def forward(self, image: Tensor, report: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the contrast over the batch of all processes; in validation over this one's.

        Args:
            image: (B, D), the mean of the visible patches.
            report: (B, H), of a pass that no image was added to.
            batch: `epoch`, a scalar in epochs since the start, by which the weight grows; it has
                grown where that is absent, as in validation. For a conditional contrast `labels`
                and `attention_mask` (B, T), or `condition` (B, Q).

        Returns:
            `loss_contrast`, the mean of both directions, weighed (nats). Under `monitor/`, not
            weighed: the directions, `recall_at_1` of reports among all, and for a conditional
            contrast `alone`, the share of records that no other is alike; both in [0, 1].
        """
        images, reports = (self._all(x) for x in (self.image(image), self.report(report)))
        alike = contrast.similarities(images, reports, temperature=self.config.temperature)
        parts: dict[str, Tensor] = {}
        if self.config.contrast == "infonce":
            to_text, to_image = contrast.info_nce(alike), contrast.info_nce(alike.T)
        else:
            weights, alone = self._negatives(batch)
            to_text = conditional.conditional_nce(alike, weights)
            to_image = conditional.conditional_nce(alike.T, weights)
            parts["monitor/alone"] = alone.float().mean()
        return parts | {
            "loss_contrast": self._weight(batch) * (to_text + to_image) / 2,
            "monitor/loss_image_to_text": to_text.detach(),
            "monitor/loss_text_to_image": to_image.detach(),
            "monitor/recall_at_1": contrast.recall_at(alike, 1).detach(),
        }

    def embed(self, image: Tensor, report: Tensor, words: Tensor) -> contrast.Embedded:
        """Return what `forward` compares, of this process; `words` (B, T) are the report's ids."""
        return contrast.Embedded(self.image(image), self.report(report), words)

    def _all(self, rows: Tensor) -> Tensor:
        return contrast.everyone(rows, training=self.training)

    def _weight(self, batch: dict[str, Tensor]) -> float | Tensor:
        full, ramp = self.config.contrast_weight, self.config.contrast_ramp
        if "epoch" not in batch or not ramp:
            return full
        return full * (batch["epoch"] / ramp).clamp(max=1)

    def _negatives(self, batch: dict[str, Tensor]) -> conditional.Negatives:
        ridge = self.config.condition_ridge
        if self.config.condition == "labels":
            kernel = conditional.category_kernel(self._all(batch["condition"]))
            return conditional.weigh(kernel, ridge=ridge)
        # what is not scored has no word, so it counts as little as padding does
        words, mask = self._all(batch["labels"]), self._all(batch["attention_mask"])
        kernel = conditional.report_kernel(words, (mask > 0) & (words >= 0))
        same = conditional.same_reports(words)
        return conditional.weigh(kernel, ridge=ridge, same=same)


def projection(width: int, out: int) -> nn.Sequential:
    """Return a layer of `width` with GELU, and one to `out`."""
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, out))
