"""How is an encoder fine-tuned on a few hundred labelled radiographs?

Source: the optimiser of MRM's fine-tuning on NIH ChestX-ray14, with the 1,000 updates after 50 of
warm-up and the learning rate of 3e-2 that its authors give for COVID-19. Ours: bf16 in place of
fp16, and the preset `quick`.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "optimizer": "sgd",
        "lr": 3e-2,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 96,
        "steps": 1_000,
        "warmup_steps": 50,
        "precision": "bf16",
        "cache": True,
        "num_workers": 8,
    },
    "quick": {
        "image_px": 64,
        "crop_min": 0.9,
        "drop_path": 0.0,
        "cache": True,
        "optimizer": "adamw",
        "lr": 5e-4,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 32,
        "steps": 150,
        "warmup_steps": 10,
        "eval_every": 30,
    },
}
