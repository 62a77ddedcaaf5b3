"""The benchmark suite: fastlayers and its peers, side by side, taking turns, on the shapes of real networks.

    python -m fastlayers bench --against torch,onnxruntime,jax,numpy

Each contender lives in a process of its own and waits there for its turn. `suite` reads the shapes and makes the tasks,
`worker` and `contenders` run inside the processes, `process` is our end of one, `turns` measures one task, `figures`
makes medians and ratios, `report` and `picture` show them, `record` keeps them.

A peer's process enters this package without running `fastlayers/__init__.py`, so that our kernels and their OpenMP
runtime are never loaded there: `protocol`, `worker` and `contenders` import nothing but NumPy, `fastlayers.shapes` and
their peer.
"""
