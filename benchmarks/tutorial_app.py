"""What tutorials show: FastAPI that calls torch for every request. The baseline of `python -m benchmarks.serving`."""

import io

import torch
from fastapi import FastAPI, UploadFile
from PIL import Image
from torchvision import models, transforms

app = FastAPI()
model = models.mobilenet_v2(num_classes=2).eval()
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, float]:
    """Return the class of one picture."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    with torch.no_grad():
        probabilities = torch.softmax(model(transform(image).unsqueeze(0)), dim=1)[0]
    return {"class": float(probabilities.argmax()), "probability": float(probabilities.max())}
