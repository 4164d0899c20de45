"""Write tiny data sets in the published file formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

# classInd.txt of UCF101TrainTestSplits-RecognitionTask.zip
UCF_CLASSES = (  # noqa: SIM905 (101 lines as a list)
    "ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch "
    "Basketball BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles "
    "BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth "
    "CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing "
    "FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut Hammering "
    "HammerThrow HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding "
    "HulaHoop IceDancing JavelinThrow JugglingBalls JumpingJack JumpRope Kayaking Knitting "
    "LongJump Lunges MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars PizzaTossing "
    "PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar "
    "PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps Rafting "
    "RockClimbingIndoor RopeClimbing Rowing SalsaSpin ShavingBeard Shotput SkateBoarding Skiing "
    "Skijet SkyDiving SoccerJuggling SoccerPenalty StillRings SumoWrestling Surfing Swing "
    "TableTennisShot TaiChi TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars "
    "VolleyballSpiking WalkingWithDog WallPushups WritingOnBoard YoYo"
).split()
UCF = {
    "testlist01.txt": [
        "YoYo/v_YoYo_g01_c01.avi",
        "HandstandPushups/v_HandStandPushups_g01_c01.avi",
    ],
    "testlist02.txt": ["Archery/v_Archery_g08_c01.avi"],
    "trainlist01.txt": ["Archery/v_Archery_g08_c01.avi 3"],
}
KINETICS = """label,youtube_id,time_start,time_end,split
testifying,---QUuC4vJs,84,94,validate
washing feet,--GkrdYZ9Tc,0,10,validate
passing american football (in game),abcdefghijk,1234,1244,validate
"""


def write(path: Path, content: str | bytes = "") -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, shade: int = 128) -> Path:
    """Write an image of 8 x 8 pixels in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)
    return path


def write_video(path: Path, levels: Sequence[int], codec: str | None = None) -> Path:
    """Write a clip whose frames have these gray levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or ("mpeg4" if path.suffix == ".avi" else "libx264")
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_ucf(folder: Path) -> Path:
    """Write the lists and clips of UCF101 in `UCF`."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    lines = "".join(f"{number} {name}\r\n" for number, name in enumerate(UCF_CLASSES, 1))
    (lists / "classInd.txt").write_text(lines)
    for name, files in UCF.items():
        (lists / name).write_text("\r\n".join(files) + "\r\n")
        for file in files:
            write_video(folder / "UCF-101" / file.split()[0], [10, 200, 90])
    return folder


def write_kinetics(folder: Path, rows: str = KINETICS) -> Path:
    """Write annotations of Kinetics and two of their clips."""
    (folder / "annotations").mkdir()
    (folder / "annotations/val.csv").write_text(rows)
    write_video(folder / "val/---QUuC4vJs_000084_000094.mp4", [10, 200, 90])
    write_video(folder / "val/washing feet/--GkrdYZ9Tc_000000_000010.mp4", [10, 100, 90])
    return folder
