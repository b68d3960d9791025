import pytest
import torch
from torch import nn

from unbraid.base_encoders.fixed_padding import with_fixed_padding
from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.export.onnx_graphs import export_image
from unbraid.runtime.preprocess import ImagePreprocess

CENTRED = (0.5, 0.5, 0.5)


def conv_same(kernel, stride, dilation):
    from timm.layers import Conv2dSame

    return nn.Sequential(Conv2dSame(3, 4, kernel, stride=stride, dilation=dilation))


@pytest.mark.parametrize("side", [16, 17, 23])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (5, 1, 2), (1, 2, 1), (3, 3, 1)]
)
def test_padding_fixed_for_a_size_is_that_of_the_layer(kernel, stride, dilation, side):
    layer, pixels = conv_same(kernel, stride, dilation), torch.randn(2, 3, side, side)
    torch.testing.assert_close(with_fixed_padding(layer, side)(pixels), layer(pixels))


def test_the_encoder_itself_stays_as_it_is():
    layer = conv_same(3, 2, 1)
    with_fixed_padding(layer, 16)
    assert type(layer[0]).__name__ == "Conv2dSame"


def test_a_graph_of_such_a_tower_works_nothing_out_and_agrees(tmp_path):
    import onnx
    import onnxruntime

    preprocess = ImagePreprocess(33, CENTRED, CENTRED)
    encoder = start_image_encoder("timm:tf_efficientnet_lite0", dim=8, preprocess=preprocess).eval()
    export_image(encoder, tmp_path / "image.onnx", 33)
    assert "Ceil" not in {node.op_type for node in onnx.load(tmp_path / "image.onnx").graph.node}
    pixels = torch.randn(3, 3, 33, 33)
    session = onnxruntime.InferenceSession(tmp_path / "image.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixel_values": pixels.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(found), encoder(pixels), atol=1e-5, rtol=0)
