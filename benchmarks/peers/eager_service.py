"""The usual peer: FastAPI, PyTorch in eager mode, one image a request, nothing kept.

python benchmarks/peers/eager_service.py PORT
"""

from __future__ import annotations

import io
import sys

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from torchvision.models import resnet50
from torchvision.transforms import v2

app = FastAPI()
network = resnet50(weights=None, num_classes=1).eval()
prepare = v2.Compose(
    [
        v2.Resize((224, 224)),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


@app.get("/health")
def say_alive() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, float]:
    """Answer one image."""
    image = Image.open(io.BytesIO(file.file.read())).convert("RGB")
    with torch.inference_mode():
        logit = network(prepare(image)[None])
    return {"probability": torch.sigmoid(logit).item()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
