"""Several losses in Lightning: a module, and a callback that any trainer takes.

    .venv/bin/pip install lightning
    .venv/bin/python client/examples/train_lightning.py --devices 2

The module says what its losses are; `ConflictFreeTraining` makes their combination the
gradients, in the place of Lightning's backward pass. Strategies (one process, DDP),
accumulate_grad_batches, 16-bit precision, checkpoints and loggers go on as before.
Leave gradient_clip_val alone: an update of a momentum operator has one length whatever
the gradients' was.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning
import torch
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import ConflictFree
from torch.utils.data import DataLoader, TensorDataset


class SeveralLosses(lightning.LightningModule):
    """Base of modules that define `losses` instead of `training_step`."""

    conflict_free: ConflictFree | None = None

    def losses(self, batch: Any) -> list[torch.Tensor | None]:
        """A scalar for each loss; None for one that this batch does not have."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        self._losses = self.losses(batch)
        self._last_part = (
            batch_index + 1
        ) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch
        there = [loss.detach() for loss in self._losses if loss is not None]
        for position, loss in enumerate(there):
            self.log(f"loss/{position}", loss, prog_bar=True)
        return torch.stack(there).sum()

    def backward(self, loss: torch.Tensor, *_: Any, **__: Any) -> None:
        losses, self._losses = self._losses, []
        if self._last_part:
            self.conflict_free.step(losses)
        else:
            self.conflict_free.accumulate(losses)


class ConflictFreeTraining(lightning.Callback):
    """Combines the losses' gradients with `operator`; its momenta are in checkpoints.

    `options`: of concord.torch.ConflictFree.
    """

    def __init__(self, operator: PseudoMomentumOperator, **options: Any) -> None:
        self.operator = operator
        self.options = options

    def on_train_start(self, trainer: lightning.Trainer, module: SeveralLosses) -> None:
        # What the strategy has made of the module: with DDP its wrapper.
        module.conflict_free = ConflictFree(
            trainer.strategy.model,
            self.operator,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            **self.options,
        )

    def on_train_end(self, trainer: lightning.Trainer, module: SeveralLosses) -> None:
        module.conflict_free = None

    def state_dict(self) -> dict[str, Any]:
        return self.operator.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.operator.load_state_dict(state)


class Directions(SeveralLosses):
    """Sum and maximum of two numbers, which want different networks."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)
        )

    def losses(self, batch: Any) -> list[torch.Tensor | None]:
        (x,) = batch
        out = self.network(x)
        return [
            (out[:, 0] - x.sum(dim=1)).square().mean(),
            (out[:, 1] - x.amax(dim=1)).square().mean(),
        ]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def data(count: int = 2048) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.rand(count, 2, generator=generator) - 1
    return DataLoader(TensorDataset(points), batch_size=32, shuffle=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=1, help="processes on the CPU")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--accumulate", type=int, default=1, metavar="BATCHES")
    parser.add_argument("--output", default="demo-output/lightning")
    arguments = parser.parse_args()

    lightning.seed_everything(0)
    module = Directions()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=arguments.devices,
        strategy="ddp" if arguments.devices > 1 else "auto",
        max_epochs=arguments.epochs,
        accumulate_grad_batches=arguments.accumulate,
        callbacks=[
            ConflictFreeTraining(PseudoMomentumOperator(2, server=""), verify=50)
        ],
        default_root_dir=arguments.output,
        logger=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, data())
    if trainer.is_global_zero:
        for name, value in sorted(trainer.callback_metrics.items()):
            print(f"{name} {float(value):.5f}")


if __name__ == "__main__":
    main()
