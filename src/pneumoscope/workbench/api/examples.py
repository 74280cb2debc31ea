"""What the API's description shows as answers; a test holds them against their schemas."""

from __future__ import annotations

from pydantic.config import JsonDict

#: An answer, as `predict --format jsonl` has it too.
PREDICTION: JsonDict = {
    "schema": "pneumoscope.finding/1",
    "path": "IM-0115-0001.jpeg",
    "sha256": "4b4ca0e24c59963fb12e3477b4de82e1fd2f0305598cad59a9ac755a1f9527eb",
    "status": "ok",
    "decision": "NORMAL",
    "probability": 0.0509,
    "logit": -3.922,
    "operating_point": "referral_band",
    "threshold": 0.725,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "warnings": [],
    "message": "NORMAL: probability 0.051, below 0.476 (rule_out).",
    "precision": "bf16",
    "bundle": "f372556501fc3513ba33923860e09712c63a8ab0078a7954e1123615c126cd79",
    "id": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
    "study": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
    "state": "done",
}
STUDY: JsonDict = {
    "id": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
    "name": "IM-0115-0001.jpeg",
    "patient": "P-17",
    "taken_on": "2026-01-31",
    "received_at": "2026-01-31T09:26:53Z",
    "source": "api",
    "image": "4b4ca0e24c59963fb12e3477b4de82e1fd2f0305598cad59a9ac755a1f9527eb",
    "prediction": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
    "state": "done",
    "status": "ok",
    "decision": "NORMAL",
    "probability": 0.0509,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "threshold": 0.725,
    "message": "NORMAL: probability 0.051, below 0.476 (rule_out).",
    "reading_count": 1,
}
READING: JsonDict = {
    "id": "0b0b8f5e-0b8a-4c9e-8a5e-1f0f6d4b6f3a",
    "reader": "grace",
    "verdict": "correct",
    "label": "PNEUMONIA",
    "comment": "Left base.",
    "read_at": "2026-01-31T09:31:02Z",
}
JOB: JsonDict = {
    "id": "7d3f3b1e-52f1-4b55-9a39-3f6f5a0f6a55",
    "studies": [
        {
            "id": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
            "name": "IM-0115-0001.jpeg",
            "prediction": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
            "new": True,
        }
    ],
    "errors": [{"name": "films.zip", "message": "films.zip holds no files."}],
}
MODEL: JsonDict = {
    "name": "paediatric-resnet50",
    "bundle": "f372556501fc3513ba33923860e09712c63a8ab0078a7954e1123615c126cd79",
    "created": "2026-11-25T16:48:59+00:00",
    "precision": "bf16",
    "operating_point": "referral_band",
    "threshold": 0.725,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "operating_points": {
        "rule_out": {
            "threshold": 0.476,
            "target": "expected sensitivity of at least 97.5%",
            "sensitivity": 0.977,
            "specificity": 0.978,
        }
    },
    "metrics": {"trained": {"val": {"n": 524, "positives": 389, "auc": 0.998}}},
    "warnings": [],
    "notice": "Research use, not a diagnosis.",
}
#: What a problem of each status may say.
DETAILS = {
    401: "Sign in, or send a token: `Authorization: Bearer pns_…`.",
    403: "A change needs the header X-CSRF-Token: reload the page.",
    404: "There is no such study, or it was deleted.",
    406: "FHIR resources come as JSON: accept application/fhir+json.",
    408: "The request did not arrive within 300 seconds.",
    409: "The image is filed under another patient.",
    413: "chest.dcm has more than 64 MiB, the most allowed.",
    422: "notes.txt is not an image: JPEG, PNG, TIFF, BMP, WebP and DICOM are read.",
    429: "Too many requests: ask again in 12 s.",
    503: "128 images are being answered, as many as may be: try again soon.",
}
