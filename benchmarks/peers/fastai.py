"""fastai: ImageDataLoaders, create_vision_model, Learner and fit_one_cycle, as in its vision tutorial."""

import torch
from fastai.vision.all import (
    BnFreeze,
    Callback,
    CancelValidException,
    Flip,
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    create_vision_model,
    default_split,
    set_seed,
)
from torchvision.models import mobilenet_v2

from benchmarks.peers.contract import (
    LEAST_AREA,
    MEAN,
    MIRRORED,
    SIZE,
    STD,
    WORKERS,
    Asked,
    Clock,
    Outcome,
    export_onnx,
    main,
)


class Unvalidated(Callback):
    """Leaves out the validation after each epoch: the peers are evaluated once, at the end."""

    def before_validate(self) -> None:
        """Skip it."""
        raise CancelValidException


def learner(asked: Asked) -> Learner:
    """Its loaders and its learner, whose body is torchvision's with the weights of the file."""
    loaders = ImageDataLoaders.from_folder(
        asked.photos, train="train", valid="test", bs=asked.batch_size, num_workers=WORKERS, seed=asked.seed,
        # A crop and a mirror image: rotation, light and warp of its aug_transforms would cost time on a CPU.
        item_tfms=RandomResizedCrop(SIZE, min_scale=LEAST_AREA or 0.35),
        batch_tfms=[Flip(MIRRORED), Normalize.from_stats(MEAN, STD, cuda=False)],
    )  # fmt: skip

    def architecture(pretrained: bool) -> torch.nn.Module:
        del pretrained  # the weights are those of the file
        model = mobilenet_v2()
        model.load_state_dict(torch.load(asked.weights, weights_only=True))
        return model

    # What vision_learner does; itself it looks for a pooling layer to cut at, of which mobilenet_v2 has none.
    model = create_vision_model(architecture, len(asked.classes()), cut=-1)
    learn = Learner(loaders, model, splitter=default_split, metrics=accuracy, wd=0.01, train_bn=False)
    if asked.frozen:
        learn.freeze()
        learn.add_cb(BnFreeze())  # with train_bn=False: the frozen body's BatchNorm in eval mode, which is faster too
    return learn


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    set_seed(asked.seed)
    # Its mixed precision is written for CUDA (autocast("cuda")) and does nothing on a CPU, so: float32, channels last.
    learn = learner(asked).to_channelslast(use_amp=False)
    with learn.no_bar(), learn.no_logging():
        with clock("train"):
            # Its documentation tunes by fine_tune: an epoch of the head alone, then all of it at lower rates.
            fit = learn.fit_one_cycle if asked.frozen else learn.fine_tune
            fit(asked.epochs, asked.lr, cbs=Unvalidated())
        with clock("evaluate"):
            scores = learn.validate()
    if asked.export:
        with clock("export"):
            export_onnx(learn.model)
    epochs = asked.epochs if asked.frozen else asked.epochs + 1
    seen = len(learn.dls.train) * asked.batch_size * epochs  # its loader leaves out what fills no batch
    how = "fit_one_cycle" if asked.frozen else "fine_tune: one epoch more, of the head"
    return Outcome(float(scores[1]), f"{how}; channels_last, float32 (its mixed precision needs CUDA)", seen)


if __name__ == "__main__":
    main(run, ("fastai", "torch"))
