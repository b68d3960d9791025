import pytest
import torch

from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from unbraid.base_encoders.prune_feed_forward import narrow_feed_forward

IDS = torch.randint(1, 50, (4, 7), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(7) < torch.tensor([7, 5, 3, 1])[:, None]).long()


def bert(width=24):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=width,
        hidden_act="gelu",
    )
    return BertModel(config, add_pooling_layer=False).eval()


def states(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).last_hidden_state[MASK.bool()]


def test_neurons_that_give_nothing_are_the_ones_that_go():
    model = bert()
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.output.dense.weight[:, 3::4] = 0
    before = states(model)
    narrow_feed_forward(model, 18, IDS, MASK)
    assert [layer.intermediate.dense.out_features for layer in model.encoder.layer] == [18, 18]
    torch.testing.assert_close(states(model), before, atol=1e-6, rtol=0)


def test_a_constant_neuron_that_goes_leaves_its_gift_in_the_bias():
    model = bert()
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.intermediate.dense.weight[5] = 0
            layer.intermediate.dense.bias[5] = 0.2
            layer.output.dense.weight[:, 5] *= 0.01
    before = states(model)
    narrow_feed_forward(model, 23, IDS, MASK)
    torch.testing.assert_close(states(model), before, atol=1e-6, rtol=0)


def test_a_narrowed_model_is_what_its_config_says(tmp_path):
    model = bert()
    narrow_feed_forward(model, 8, IDS, MASK)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(
        states(BertModel.from_pretrained(tmp_path, add_pooling_layer=False)), states(model)
    )


def test_more_neurons_than_there_are_cannot_be_kept():
    with pytest.raises(ValueError, match="24 wide, asked to keep 25"):
        narrow_feed_forward(bert(), 25, IDS, MASK)


def test_an_encoder_of_another_make_is_refused():
    other = DistilBertModel(DistilBertConfig(vocab_size=50, dim=12, n_layers=1, n_heads=2, hidden_dim=24))
    with pytest.raises(ValueError, match="DistilBertModel: no feed-forward"):
        narrow_feed_forward(other, 8, IDS, MASK)
