"""Write a release as its marketplace would have it on disk: `python make_release.py DIR`.

Takes the handwritten digits that come with scikit-learn (no download) and writes 1,797 real 8x8 PNG files, their
labels and the attribution their license asks for. `databom publish DIR …` then signs them.
"""

import csv
import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

ATTRIBUTION = """# Optical Recognition of Handwritten Digits

Alpaydin, E. and Kaynak, C. (1998). Optical Recognition of Handwritten Digits [Dataset].
UCI Machine Learning Repository. https://doi.org/10.24432/C50P49

Licensed under Creative Commons Attribution 4.0 International (CC BY 4.0):
https://creativecommons.org/licenses/by/4.0/

Changes: this is the test part (1,797 images), as scikit-learn ships it. Each image of 8x8 counts from 0 to 16 was
written as an 8-bit gray PNG, a count of 16 becoming 255.
"""


def main() -> None:
    release = Path(sys.argv[1])
    (release / "images").mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    with open(release / "labels.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "label"])
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            name = f"images/{number:04}.png"
            Image.fromarray((pixels * 255 / 16).round().astype("uint8")).save(release / name)
            table.writerow([name, label])
    (release / "ATTRIBUTION.md").write_text(ATTRIBUTION)
    print(f"{len(digits.images):,} images, labels.csv and ATTRIBUTION.md in {release}")


if __name__ == "__main__":
    main()
