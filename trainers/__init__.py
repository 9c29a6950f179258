"""Training programs, each run alone: `python -m trainers.pretrain`, `finetune`, `evaluate`."""
