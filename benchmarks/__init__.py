"""How long databom takes, beside what people use otherwise: measured by whole processes, on data made here.

    python -m benchmarks                      # everything, at full size: an hour, 12 GB of disk
    python -m benchmarks --scale 0.1          # a tenth of the data
    python -m benchmarks local --loads W3     # one part, one load
    python -m benchmarks page                 # docs/performance.md, from benchmarks/results.json

| file | one idea |
|---|---|
| `loads` | makes the data and the signed releases |
| `racing` | runs contestants in pairs with the floor; wall, CPU and memory of each |
| `floor.c` | the floor: OpenSSL on two threads, nothing else |
| `local` | who verifies a folder |
| `remote` | who verifies a bucket |
| `startup` | what starting costs, and what the MLflow hook adds to a run |
| `memory` | how memory grows with files and bytes |
| `page` | results to the page |
| `programs/` | small programs that are contestants |

A peer that is not installed is skipped with a word; the extra `bench` installs most of them. Nothing here is part
of the wheel.
"""
