"""The convolutions that are always verified, beside those drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

from fastlayers.shapes import Padding, Window2D, conv2d_window, output_shape


@dataclass(frozen=True)
class ConvCase:
    """n images of h × w pixels with c channels, o filters of kernel[0] × kernel[1] taps."""

    n: int
    h: int
    w: int
    c: int
    o: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    data_format: str = "channels_last"
    activation: str = "linear"
    algorithm: str = "auto"

    def window(self) -> Window2D:
        geometry = (self.kernel, self.strides, self.padding, self.dilation)
        return conv2d_window("case", (self.h, self.w, self.c), *geometry)

    def x_shape(self) -> tuple[int, ...]:
        return (self.n, *image_shape(self.h, self.w, self.c, self.data_format))

    def y_shape(self) -> tuple[int, ...]:
        return (self.n, *output_shape(self.window(), self.o, self.data_format))

    def kernel_shape(self) -> tuple[int, ...]:
        return (*self.kernel, self.c // self.groups, self.o)


def image_shape(h: int, w: int, c: int, data_format: str) -> tuple[int, int, int]:
    return (h, w, c) if data_format == "channels_last" else (c, h, w)


ROWS = {
    "lenet 1": ConvCase(3, 28, 27, 1, 6, (5, 5), padding="same", activation="tanh"),
    "lenet 2": ConvCase(3, 14, 13, 6, 16, (5, 5), activation="relu"),
    "cifar": ConvCase(2, 32, 31, 3, 32, (3, 3), padding="same", activation="relu"),
    "first layer, long chunks": ConvCase(4, 33, 31, 3, 10, (3, 3), padding="same"),
    "first layer, dilated": ConvCase(2, 17, 19, 3, 6, (3, 3), padding="same", dilation=(1, 2)),
    "first layer, two kernel rows of nine": ConvCase(3, 14, 29, 1, 7, (2, 9), padding="same"),
    "resnet stem": ConvCase(1, 37, 39, 3, 16, (7, 7), (2, 2), 3, bias=False),
    "resnet block": ConvCase(1, 14, 15, 34, 33, (3, 3), padding=1, bias=False),
    "resnet down": ConvCase(2, 13, 12, 17, 33, (3, 3), (2, 2), "same", activation="relu"),
    "resnet shortcut": ConvCase(2, 9, 10, 16, 24, (1, 1), (2, 2), bias=False),
    "resnet shortcut of wide pixels": ConvCase(2, 5, 6, 512, 9, (1, 1), (2, 2), 1, activation="relu"),
    "resnet bottleneck": ConvCase(2, 7, 8, 130, 17, (1, 1), activation="relu"),
    "mobilenet": ConvCase(2, 15, 14, 33, 33, (3, 3), padding="same", groups=33, activation="silu"),
    "mobilenet down": ConvCase(2, 12, 13, 24, 24, (3, 3), (2, 2), "same", groups=24, bias=False),
    "efficientnet": ConvCase(1, 9, 20, 70, 70, (5, 5), padding="same", groups=70, activation="relu"),
    "efficientnet down": ConvCase(2, 10, 23, 130, 130, (5, 5), (2, 2), 2, groups=130, bias=False),
    "mobilenet end": ConvCase(3, 7, 6, 150, 150, (3, 3), padding="same", groups=150),
    "mobilenet, wide pixels": ConvCase(2, 7, 9, 256, 256, (3, 3), padding="same", groups=256, activation="relu"),
    "efficientnet, wide pixels": ConvCase(1, 6, 15, 256, 256, (5, 5), padding="same", groups=256, activation="silu"),
    "depthwise dilated, wide pixels": ConvCase(1, 7, 8, 256, 256, (3, 2), padding="same", dilation=(2, 3), groups=256),
    "depthwise dilated": ConvCase(1, 11, 17, 66, 66, (3, 3), (1, 2), "same", (2, 3), groups=66),
    "depthwise multiplier": ConvCase(1, 9, 8, 5, 15, (3, 2), (1, 2), ((0, 2), (1, 0)), groups=5),
    "resnext": ConvCase(2, 8, 9, 20, 12, (3, 3), padding="same", groups=4, data_format="channels_first"),
    "resnext groups of 4": ConvCase(2, 9, 16, 36, 36, (3, 3), padding="same", groups=9, activation="relu"),
    "resnext groups of 8": ConvCase(1, 8, 15, 40, 40, (3, 3), (2, 2), "same", groups=5, bias=False),
    "resnext groups of 16": ConvCase(1, 7, 8, 48, 48, (3, 3), padding=1, groups=3, activation="silu"),
    "groups of 2, any window": ConvCase(2, 6, 9, 6, 6, (2, 4), (1, 2), "same", (2, 1), groups=3),
    "unet": ConvCase(1, 19, 18, 8, 3, (3, 3), padding="same", dilation=(2, 2), activation="sigmoid"),
    "empty batch": ConvCase(0, 6, 7, 3, 5, (3, 3)),
    "one pixel": ConvCase(1, 1, 1, 1, 1, (1, 1)),
    "one pixel padded": ConvCase(2, 1, 1, 5, 3, (3, 3), padding="same"),
    "whole input": ConvCase(3, 6, 5, 7, 10, (6, 5), activation="relu"),
    "one row": ConvCase(2, 1, 67, 3, 5, (1, 5), (1, 2), ((0, 0), (4, 1))),
    "stride beyond kernel": ConvCase(2, 13, 17, 5, 9, (2, 1), (5, 4), ((1, 0), (0, 2))),
    "windows in padding": ConvCase(1, 3, 4, 2, 5, (2, 2), padding=((5, 3), (2, 4))),
    "asymmetric": ConvCase(2, 8, 11, 5, 17, (3, 4), (2, 1), ((0, 3), (2, 1)), (1, 2), activation="elu"),
    "all at once": ConvCase(
        2, 17, 15, 6, 9, (3, 2), (3, 2), ((1, 4), (2, 0)), (2, 3), 3, True, "channels_first", "leaky_relu"
    ),
    "several blocks": ConvCase(1, 33, 31, 9, 37, (3, 3), padding="same", data_format="channels_first"),
    "long sums": ConvCase(1, 3, 4, 190, 5, (3, 3), padding="same", activation="gelu"),
    "pointwise": ConvCase(3, 7, 9, 35, 70, (1, 1), activation="silu", algorithm="pointwise"),
    "pointwise, sums over many pixels": ConvCase(4, 21, 23, 5, 9, (1, 1)),
    "pointwise strided": ConvCase(2, 9, 8, 35, 70, (1, 1), (2, 3), activation="relu", algorithm="pointwise_strided"),
    "pointwise strided, wide": ConvCase(3, 13, 12, 130, 64, (1, 1), (2, 2), bias=False),
    "few channels": ConvCase(3, 14, 13, 6, 16, (5, 4), (1, 2), ((1, 2), (0, 3)), algorithm="scatter"),
    "tapwise": ConvCase(2, 13, 9, 33, 70, (3, 2), (2, 1), ((1, 2), (0, 3)), activation="gelu", algorithm="tapwise"),
    "tapwise, deep": ConvCase(1, 4, 5, 300, 37, (2, 3), padding="same", algorithm="tapwise"),
    "tapwise, wide": ConvCase(2, 3, 4, 40, 550, (3, 3), dilation=(1, 2), padding=2, bias=False, algorithm="tapwise"),
    "tapwise, many pixels": ConvCase(2, 41, 40, 3, 5, (3, 3), (1, 2), "same", activation="relu", algorithm="tapwise"),
    "tapwise, all taps outside": ConvCase(
        1, 2, 3, 5, 9, (2, 2), (3, 1), 4, data_format="channels_first", algorithm="tapwise"
    ),
    "winograd": ConvCase(2, 15, 18, 17, 33, (3, 3), padding="same", activation="relu"),
    "winograd f4": ConvCase(1, 9, 6, 5, 3, (3, 3), padding=((0, 3), (4, 1)), algorithm="winograd_f4"),
    "winograd f2": ConvCase(3, 5, 7, 18, 9, (3, 3), activation="silu", algorithm="winograd_f2"),
    "winograd few tiles": ConvCase(1, 7, 7, 150, 140, (3, 3), padding="same", algorithm="winograd_f4"),
    "winograd many tiles": ConvCase(2, 41, 40, 3, 5, (3, 3), padding="same", algorithm="winograd_f4"),
    "winograd wide": ConvCase(1, 41, 40, 130, 100, (3, 3), padding="same", bias=False, algorithm="winograd_f4"),
    "winograd groups": ConvCase(2, 15, 18, 34, 66, (3, 3), padding="same", groups=2, algorithm="winograd_f4"),
    "winograd groups of 16": ConvCase(3, 13, 16, 144, 144, (3, 3), padding=1, groups=9, activation="relu"),
    "winograd groups of 64": ConvCase(1, 9, 10, 128, 128, (3, 3), padding="same", groups=2, activation="silu"),
    "winograd wide groups": ConvCase(1, 5, 9, 420, 400, (3, 3), padding="same", groups=2, algorithm="winograd_f4"),
    "winograd narrow groups": ConvCase(
        2, 9, 7, 21, 12, (3, 3), padding=((0, 3), (4, 1)), groups=3, algorithm="winograd_f2"
    ),
    "winograd groups down": ConvCase(1, 11, 14, 15, 25, (3, 3), (2, 2), "same", groups=5, algorithm="winograd_f4_2x2"),
    "winograd channels first": ConvCase(
        2, 12, 11, 16, 20, (3, 3), padding=1, data_format="channels_first", algorithm="winograd_f4"
    ),
    "alexnet": ConvCase(2, 13, 18, 17, 33, (5, 5), padding="same", activation="relu"),
    "winograd 5x5": ConvCase(1, 9, 6, 5, 3, (5, 5), padding=((0, 3), (4, 1)), algorithm="winograd_f2_5x5"),
    "winograd 5x5 few tiles": ConvCase(1, 7, 8, 150, 140, (5, 5), padding="same", algorithm="winograd_f2_5x5"),
    "winograd 5x5 many tiles": ConvCase(
        2, 21, 20, 3, 5, (5, 5), padding="same", activation="gelu", algorithm="winograd_f2_5x5"
    ),
    "winograd 5x5 dilated": ConvCase(
        2, 14, 25, 7, 9, (5, 5), padding=((4, 3), (4, 9)), dilation=(2, 3), algorithm="winograd_f2_5x5"
    ),
    "inception": ConvCase(2, 11, 19, 17, 33, (1, 7), padding="same", activation="relu"),
    "inception, columns": ConvCase(1, 23, 9, 33, 18, (7, 1), padding="same", bias=False),
    "winograd line": ConvCase(1, 6, 13, 5, 3, (1, 8), padding=((0, 3), (4, 1)), algorithm="winograd_f3_1x4"),
    "winograd line, columns": ConvCase(
        2, 12, 7, 18, 9, (6, 1), padding=((2, 0), (1, 0)), activation="silu", algorithm="winograd_f3_1x4"
    ),
    "winograd line few tiles": ConvCase(1, 5, 8, 150, 140, (1, 7), padding="same", algorithm="winograd_f3_1x4"),
    "winograd line many tiles": ConvCase(
        2, 31, 30, 3, 5, (5, 1), padding="same", activation="gelu", algorithm="winograd_f3_1x4"
    ),
    "winograd line wide": ConvCase(2, 17, 18, 130, 100, (1, 7), padding="same", algorithm="winograd_f3_1x4"),
    "winograd line dilated": ConvCase(
        2, 9, 25, 7, 9, (1, 5), padding=((0, 1), (4, 9)), dilation=(2, 3), algorithm="winograd_f3_1x4"
    ),
    "winograd line channels first": ConvCase(
        2, 13, 11, 16, 20, (8, 1), padding=3, data_format="channels_first", algorithm="winograd_f3_1x4"
    ),
    "winograd down": ConvCase(
        2, 24, 23, 18, 20, (3, 3), (2, 2), "same", activation="relu", algorithm="winograd_f4_2x2"
    ),
    "winograd down, odd": ConvCase(
        1, 9, 6, 5, 3, (4, 3), (2, 2), ((0, 3), (4, 1)), activation="silu", algorithm="winograd_f4_2x2"
    ),
    "winograd down, no padding": ConvCase(3, 8, 15, 17, 33, (3, 4), (2, 2), algorithm="winograd_f4_2x2"),
    "winograd down few tiles": ConvCase(1, 14, 15, 150, 140, (3, 3), (2, 2), 1, algorithm="winograd_f4_2x2"),
    "winograd down many tiles": ConvCase(
        2, 57, 56, 3, 5, (4, 4), (2, 2), "same", activation="gelu", algorithm="winograd_f4_2x2"
    ),
    "winograd down wide": ConvCase(1, 56, 57, 130, 100, (3, 3), (2, 2), 1, bias=False, algorithm="winograd_f4_2x2"),
    "winograd down channels first": ConvCase(
        2, 22, 11, 16, 20, (3, 3), (2, 2), 1, data_format="channels_first", algorithm="winograd_f4_2x2"
    ),
    "deeplab": ConvCase(2, 27, 22, 18, 20, (3, 3), padding="same", dilation=(2, 2), activation="relu"),
    "deeplab wide": ConvCase(1, 17, 19, 16, 34, (3, 3), padding=6, dilation=(6, 6), bias=False),
    "winograd f4 dilated": ConvCase(
        2, 13, 25, 5, 9, (3, 3), padding=((0, 3), (4, 1)), dilation=(1, 5), algorithm="winograd_f4"
    ),
    "winograd f2 dilated": ConvCase(
        1, 14, 9, 17, 3, (3, 3), padding="same", dilation=(3, 2), activation="silu", algorithm="winograd_f2"
    ),
}
