"""Which networks travel: those of `keras.applications`, and architectures of `pytorchcv`."""

from __future__ import annotations

# {name in keras.applications: the size of its square input}; the smallest that it takes, or 32.
KERAS = {
    **dict.fromkeys(("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase"), 32),
    **dict.fromkeys((f"DenseNet{depth}" for depth in (121, 169, 201)), 32),
    **dict.fromkeys((f"EfficientNetB{scale}" for scale in range(8)), 32),
    **dict.fromkeys((f"EfficientNetV2{scale}" for scale in ("B0", "B1", "B2", "B3")), 32),
    **dict.fromkeys((f"EfficientNetV2{scale}" for scale in "SML"), 32),
    **dict.fromkeys(("InceptionResNetV2", "InceptionV3"), 75),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"), 32),
    **dict.fromkeys(("NASNetMobile", "NASNetLarge"), 32),
    **dict.fromkeys((f"ResNet{depth}{v}" for depth in (50, 101, 152) for v in ("", "V2")), 32),
    **dict.fromkeys(("VGG16", "VGG19"), 32),
    "Xception": 71,
}
# {name: (module of pytorchcv.models, the size of its square input)}. Most end in a pool over 7 × 7
# places, which needs 224.
PYTORCH = {
    **{
        name: (module, 224)
        for module, names in {
            "alexnet": ("alexnet",),
            "airnet": ("airnet50_1x64d_r16",),
            "bamresnet": ("bam_resnet18",),
            "bninception": ("bninception",),
            "darknet": ("darknet_tiny",),
            "densenet": ("densenet121",),
            "diracnetv2": ("diracnet18v2",),
            "dla": ("dla46c",),
            "dpn": ("dpn68",),
            "drn": ("drnd22",),
            "espnetv2": ("espnetv2_wd2",),
            "fbnet": ("fbnet_cb",),
            "ghostnet": ("ghostnet",),
            "hardnet": ("hardnet39ds",),
            "ibnresnet": ("ibn_resnet50",),
            "igcv3": ("igcv3_wd4",),
            "menet": ("menet108_8x1_g3",),
            "mnasnet": ("mnasnet_b1",),
            "mobilenet": ("mobilenet_wd4",),
            "mobilenetb": ("mobilenetb_wd4",),
            "mobilenetv2": ("mobilenetv2_wd4",),
            "mobilenetv3": ("mobilenetv3_small_w7d20",),
            "octresnet": ("octresnet10_ad2",),
            "peleenet": ("peleenet",),
            "preresnet": ("preresnet10",),
            "proxylessnas": ("proxylessnas_cpu",),
            "regnet": ("regnetx002", "regnety002"),
            "resnet": ("resnet10", "resnet18"),
            "resnext": ("resnext14_16x4d",),
            "selecsls": ("selecsls42",),
            "senet": ("senet16",),
            "seresnet": ("seresnet10",),
            "shufflenet": ("shufflenet_g1_wd4",),
            "shufflenetv2": ("shufflenetv2_wd2",),
            "shufflenetv2b": ("shufflenetv2b_wd2",),
            "sknet": ("sknet50",),
            "squeezenet": ("squeezenet_v1_1", "squeezeresnet_v1_1"),
            "squeezenext": ("sqnxt23_w1",),
            "vgg": ("bn_vgg11",),
            "vovnet": ("vovnet39",),
        }.items()
        for name in names
    },
}
# Those that Theano runs too: in its Python mode a large network takes minutes.
THEANO = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0"),
    *("EfficientNetV2B0", "DenseNet121", "ResNet50", "ResNet50V2", "VGG16"),
    *("resnet10", "mobilenet_wd4", "mobilenetv2_wd4", "shufflenetv2b_wd2", "squeezenet_v1_1"),
    *("mobilenetv3_small_w7d20", "regnetx002", "darknet_tiny", "igcv3_wd4", "preresnet10"),
)
