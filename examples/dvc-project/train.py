"""Train a small classifier of handwritten digits, and log it with MLflow.

An ordinary script: it reads plain files and knows nothing of where they came from. That they are the pinned
ones is seen to by the stage in front of it in dvc.yaml; MLflow's run says so by itself.
"""

import csv
import json
from pathlib import Path

import joblib
import mlflow
import numpy as np
import yaml
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

DATA = Path("data/digits")


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    images = [np.asarray(Image.open(folder / row["image"])).ravel() / 255 for row in rows]
    return np.array(images), np.array([int(row["label"]) for row in rows])


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())["train"]
    images, labels = load(DATA)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=params["test_share"], random_state=params["seed"], stratify=labels
    )
    model = LogisticRegression(C=params["C"], max_iter=params["max_iter"])
    model.fit(seen, seen_labels)
    guesses = model.predict(unseen)
    metrics = {
        "accuracy": round(accuracy_score(unseen_labels, guesses), 4),
        "f1": round(f1_score(unseen_labels, guesses, average="macro"), 4),
    }

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run():
        mlflow.log_params(params)
        mlflow.log_metrics(metrics)
        mlflow.sklearn.log_model(model, "model", pip_requirements=["scikit-learn"])

    joblib.dump(model, "model.joblib")
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"{len(labels):,} images, accuracy {metrics['accuracy']}")


if __name__ == "__main__":
    main()
