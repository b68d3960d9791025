import math

import pytest
import torch
from torch import nn

from unbraid.errors import DataError
from unbraid.training.loop import train

STEPS = 10


class Counter:
    """Extra state that a checkpoint carries."""

    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def run(checkpoint, *, stop=None, settings="same", **changes):
    """Train a layer with dropout; returns it, its curves and the extra state. Ctrl-C in step `stop`."""
    torch.manual_seed(0)
    model, extra = nn.Linear(3, 1), Counter()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def gradients(step):
        if step == stop:
            raise KeyboardInterrupt
        extra.count += 1
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        loss = nn.functional.dropout(model(inputs), 0.5).square().mean()
        loss.backward()
        return loss.item()

    options = {"ends": [STEPS], "warmup": 0.2, "measure_every": 4, "save_every": 3} | changes
    curves = train(
        "test",
        model,
        optimizer,
        gradients,
        measure=lambda done: {"done": done, "norm": model.weight.norm().item()},
        checkpoint=checkpoint,
        settings=settings,
        extra={"counter": extra},
        **options,
    )
    return model, curves, extra


@pytest.mark.parametrize("stop", [1, 3, 7, 9])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, stop):
    model, curves, extra = run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "checkpoint.pt", stop=stop)
    resumed, again, other = run(tmp_path / "checkpoint.pt")
    assert torch.equal(resumed.weight, model.weight) and torch.equal(resumed.bias, model.bias)
    assert (again, other.count) == (curves, extra.count) and extra.count == STEPS


def test_what_is_measured_stands_in_the_curves_and_the_last_step_counts(tmp_path):
    _, curves, _ = run(tmp_path / "checkpoint.pt")
    assert len(curves["loss"]) == STEPS and curves["done"] == [4, 8, 10] and len(curves["norm"]) == 3


def test_other_settings_are_refused(tmp_path):
    run(tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="checkpoint.pt: saved under other settings"):
        run(tmp_path / "checkpoint.pt", settings="other")


def test_gradients_are_clipped_at_the_given_norm(tmp_path):
    torch.manual_seed(0)
    start = nn.Linear(3, 1).weight
    clipped, free = (run(tmp_path / f"{norm}.pt", max_norm=norm)[0].weight for norm in (1e-6, math.inf))
    torch.testing.assert_close(clipped, start, atol=1e-5, rtol=0)
    assert (free - start).abs().max() > 1e-3
