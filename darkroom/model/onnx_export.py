"""Write a body as ONNX: uint8 images in, normalisation inside, features and, where there is one, the last map out."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from darkroom.core.errors import DarkroomError
from darkroom.model.network import Body

OPSET = 18
LARGEST = 2_000_000_000  # bytes of one protobuf file


def export(body: Body, image_size: int, batch: int | None = None, fold: bool = True) -> bytes:
    """Return `body` as an ONNX file: the same bytes in any folder. Raises DarkroomError where that is not possible.

    `batch`: the number of images, written into the graph's shapes; None: any number. `fold`: whether BatchNorm is
    folded into the convolutions, for which torch has other last bits on other processors.

    The graph: `images` uint8 (n, S, S, 3) -> `features` float32 (n, D), and where there is one `maps` float32
    (n, D, h, w), whose average over its positions the features are.
    """
    size = 4 * sum(value.numel() for value in body.state_dict().values())
    if size > LARGEST:
        raise DarkroomError(
            f"backbone: its {size / 1e9:.1f} GB of weights do not fit into one ONNX file (2 GB), so it could not be "
            "handed over; use a smaller one of its family"
        )
    images = torch.zeros(batch or 2, image_size, image_size, 3, dtype=torch.uint8)
    with torch.no_grad():
        wrapped = _FromPixels(body, image_size).eval()
    names = ["features", *(["maps"] if wrapped.has_maps else [])]
    buffer = io.BytesIO()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused operator that ONNX does not know
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The older exporter is deprecated, but its bytes hold no paths and it takes a twentieth of the time.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                wrapped,
                (images,),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
                opset_version=OPSET,
                input_names=["images"],
                output_names=names,
                dynamic_axes=None if batch else {name: {0: "n"} for name in ("images", *names)},
            )
    except (OnnxExporterError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DarkroomError(
            f"backbone: it cannot be written as ONNX at {image_size} px ({reason}); try another size"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return buffer.getvalue()


class _FromPixels(nn.Module):
    def __init__(self, body: Body, image_size: int) -> None:
        super().__init__()
        self.body = body
        # Finds the map now: the exporter traces one image and could not record the search.
        self.has_maps = body.with_maps(torch.zeros(1, 3, image_size, image_size))[1] is not None

    def forward(self, images: Tensor) -> Any:
        scaled = images.permute(0, 3, 1, 2).float() / 255
        return self.body.with_maps(scaled) if self.has_maps else self.body(scaled)
