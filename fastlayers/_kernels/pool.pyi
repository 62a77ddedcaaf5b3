from fastlayers.shapes import Window2D

def workspace(
    window: Window2D,
    batch: int,
    channels: int,
    data_format: str,
    double_precision: bool,
    maximum: bool,
    backward: bool,
    isa: int,
    threads: int,
) -> int: ...
