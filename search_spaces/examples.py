"""A small instance of every space, in which every option shows: what the contracts and the tests run over."""

from search_spaces.darts import Darts
from search_spaces.fbnet import FbNet, FbNetStage
from search_spaces.ghostnet import GhostNet, GhostStage
from search_spaces.hybrid import ConvStage, Hybrid, TokenStage
from search_spaces.mcunet import McuNet
from search_spaces.mnasnet import MnasNet, MnasStage
from search_spaces.mobile import Mobile, Stage
from search_spaces.nas_bench_201 import NasBench201
from search_spaces.ofa_mobilenet import OfaMobileNet, OfaStage
from search_spaces.proxyless import Proxyless, ProxylessStage
from search_spaces.resnet import ResNet50D, ResNetStage
from search_spaces.shufflenet import ShuffleNetV2, ShuffleStage
from search_spaces.space import Space
from search_spaces.squeezenet import Fire, SqueezeNet
from search_spaces.vision_transformer import VisionTransformer

EXAMPLES: tuple[Space, ...] = (
    Mobile(
        image_size=26,  # 13, 7, 4: large enough for every tap of every kernel to meet the image
        stages=(
            Stage(widths=(8, 12), depths=(1,), stride=2),
            Stage(widths=(8, 16), depths=(1, 2), stride=2, squeeze_excite=(False, True), activation="hard_swish"),
        ),
        expansions=(2, 3),
        head_channels=16,
    ),
    OfaMobileNet(
        image_channels=1,
        classes=10,
        resolutions=(14, 16),  # 7, 4 and 8, 4
        stem_channels=8,
        first_channels=8,
        stages=(OfaStage(width=16, squeeze_excite=True, activation="hard_swish"),),
        depths=(1, 2),
        expansions=(2, 3),
        head_channels=24,
        mix_channels=32,
    ),
    VisionTransformer(
        image_size=12,  # 3 x 3 patches: the corners are out of reach of the relative positions
        classes=5,
        patch=4,
        dims=(12, 16),
        depths=(1, 2),
        heads=(1, 2),
        mlp_ratios=(1.5, 2.0),
        head_dim=8,
        relative_reach=1,
    ),
    NasBench201(image_size=8, image_channels=1, channels=4, cells=1, stages=2),
    Proxyless(
        image_size=14,
        image_channels=1,
        classes=5,
        resolutions=(),
        width_mults=(1.0, 2.0),
        stem_channels=8,
        first_channels=8,
        stages=(ProxylessStage(width=8, depths=(2,), skippable=True),),
        kernels=(3, 5),
        expansions=(2, 3),
        head_channels=16,
    ),
    McuNet(
        image_channels=1,
        classes=5,
        resolutions=(14, 16),
        width_mults=(1.0, 2.0),
        stem_channels=8,
        first_channels=8,
        stages=(ProxylessStage(width=8, depths=(1, 2)),),
        kernels=(3, 5),
        expansions=(2, 3),
    ),
    MnasNet(
        image_size=16,
        image_channels=1,
        classes=5,
        stem_channels=8,
        stages=(MnasStage(widths=(8, 16), depths=(1, 2)),),
        head_channels=24,
    ),
    FbNet(
        image_size=16,
        image_channels=1,
        classes=5,
        stem_channels=8,
        stages=(FbNetStage(width=8, layers=1), FbNetStage(width=16, layers=1, stride=2)),
        head_channels=24,
    ),
    ShuffleNetV2(
        image_size=16,
        image_channels=1,
        classes=5,
        stem_channels=4,
        stages=(ShuffleStage(width=16, units=2),),
        operations=("shuffle_3x3", "shuffle_5x5", "xception_3x3"),
        scales=(0.5, 1.0),
        head_channels=16,
    ),
    GhostNet(
        image_size=10,
        image_channels=1,
        classes=5,
        widths=(0.5, 1.0),
        stem_channels=8,
        stages=(
            GhostStage(width=8, hiddens=(16,), expansions=(0.5, 1.0), squeeze_excite=(False,)),
            GhostStage(width=16, hiddens=(24,), expansions=(1.0,), stride=2),
        ),
        head_channels=16,
        mix_channels=16,
    ),
    SqueezeNet(
        image_size=18,
        image_channels=1,
        classes=10,
        stem_channels=8,
        fires=(Fire(channels=16, pooled=True), Fire(channels=24, pooled=True)),
        expands=(0.5, 1.0),
        squeezes=(0.25, 0.5),
        shares=(0.25, 0.5),
    ),
    Darts(
        image_size=9,
        image_channels=1,
        classes=5,
        channels=8,
        cells=3,
        nodes=2,
        operations=("max_pool_3x3", "skip_connect", "dil_conv_3x3"),
    ),
    Hybrid(
        resolutions=(12, 16),
        image_channels=1,
        classes=5,
        stem_channels=8,
        conv_stages=(ConvStage(widths=(8, 12), depths=(1, 2), expansions=(2, 3), squeeze_excite=True),),
        token_stages=(
            TokenStage(widths=(12, 16), depths=(1, 2), heads=(1, 2), mlp_ratios=(1.5, 2.0)),
            TokenStage(widths=(16, 20), depths=(1,), heads=(2,), mlp_ratios=(2.0,)),
        ),
        head_dim=4,
    ),
    VisionTransformer(  # elastic in its grid
        resolutions=(8, 12),
        patch=4,
        patches=(4, 2),
        image_channels=1,
        classes=5,
        dims=(12, 16),
        depths=(1, 2),
        heads=(1, 2),
        mlp_ratios=(1.5, 2.0),
        head_dim=8,
        relative_reach=1,
    ),
    ResNet50D(
        image_size=18,
        image_channels=1,
        classes=5,
        resolutions=(),
        width_mults=(0.5, 1.0),
        stem_channels=32,
        stages=(ResNetStage(width=32, blocks=1, stride=2),),
        extra_blocks=(0, 1),
        expansions=(0.5, 1.0),
    ),
)
