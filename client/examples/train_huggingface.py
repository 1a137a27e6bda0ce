"""Several losses in Hugging Face's Trainer, by a subclass of it.

    .venv/bin/pip install transformers accelerate
    .venv/bin/python client/examples/train_huggingface.py
    .venv/bin/torchrun --nproc-per-node=2 client/examples/train_huggingface.py

The model returns its losses one by one, under "losses"; `ConflictFreeTrainer` takes each
one's gradient for the encoder and combines them, and gives each head its own. Micro-
batches (gradient_accumulation_steps), DDP and fp16 are the Trainer's own affair, as
before. A tiny BERT, made from a configuration and trained on made-up sentences: nothing
is downloaded.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import ConflictFree
from transformers import BertConfig, BertModel, Trainer, TrainingArguments

WORDS = 64


class ConflictFreeTrainer(Trainer):
    """A Trainer of models whose output has "losses", a list of scalars.

    `operator`: of concord; `shared`: the part of the model whose gradients it combines,
    None for all.
    """

    def __init__(
        self,
        *args: Any,
        operator: Any,
        shared: torch.nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.operator = operator
        self.shared = shared
        self._conflict_free: ConflictFree | None = None

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        model.train()
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            losses = model(**inputs)["losses"]
        if self._conflict_free is None:
            # `model` is what accelerate has made of it: with DDP its wrapper.
            self._conflict_free = ConflictFree(
                model,
                self.operator,
                shared=self.shared,
                scaler=self.accelerator.scaler,
                verify=100,
            )
        # Whether an optimizer's step follows, or more micro-batches do.
        if self.accelerator.sync_gradients:
            self._conflict_free.step(losses)
        else:
            self._conflict_free.accumulate(losses)
        # What is logged is the sum over the micro-batches.
        total = torch.stack([loss.detach() for loss in losses]).sum()
        return total / self.current_gradient_accumulation_steps


class Reader(torch.nn.Module):
    """A tiny BERT that says of a sentence which of two words is in it more often, and of
    each word whether it is even."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.sentence = torch.nn.Linear(32, 2)
        self.word = torch.nn.Linear(32, 2)

    def forward(
        self, input_ids: torch.Tensor, sentence: torch.Tensor, word: torch.Tensor
    ) -> dict[str, Any]:
        states = self.encoder(input_ids=input_ids).last_hidden_state
        cross_entropy = torch.nn.functional.cross_entropy
        losses = [
            cross_entropy(self.sentence(states.mean(dim=1)), sentence),
            cross_entropy(self.word(states).flatten(0, 1), word.flatten()),
        ]
        return {"loss": sum(losses), "losses": losses}


def sentences(count: int = 1024) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(WORDS, (count, 12), generator=generator)
    words[:, ::3] = torch.randint(2, (count, 4), generator=generator)
    more = ((words == 0).sum(dim=1) > (words == 1).sum(dim=1)).long()
    return [
        {"input_ids": row, "sentence": label, "word": row % 2}
        for row, label in zip(words, more)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--accumulate", type=int, default=1, metavar="BATCHES")
    parser.add_argument("--output", default="demo-output/huggingface")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = Reader()
    trainer = ConflictFreeTrainer(
        model,
        TrainingArguments(
            output_dir=arguments.output,
            use_cpu=True,
            ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
            optim="sgd",
            learning_rate=2e-3,
            max_grad_norm=0.0,  # An update's length is not the gradients'.
            max_steps=arguments.steps,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=arguments.accumulate,
            logging_steps=50,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=sentences(),
        operator=PseudoMomentumOperator(2, server=""),
        shared=model.encoder,
    )
    trainer.train()


if __name__ == "__main__":
    main()
