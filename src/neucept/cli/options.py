"""What can be said on the command line, and what the help says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_NETWORK, _DATA, _QUESTION, _WAYS = "Network", "Data", "Question", "Mechanisms"
_DATA_HELP = "A folder with one folder per class, MNIST's IDX files, an .npz or a .parquet file."

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="SPEC",
        help="file.py:factory, package.module:factory, torchvision:NAME or timm:NAME.",
        rich_help_panel=_NETWORK,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="A .safetensors or .pt file; 'pretrained' for torchvision's and timm's own.",
        rich_help_panel=_NETWORK,
    ),
]
NClasses = Annotated[
    int | None,
    typer.Option("--n-classes", metavar="N", help="Number of outputs, for the factory.", rich_help_panel=_NETWORK),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="KEY|NUMBER",
        help="Which of several things that the model returns are the logits.",
        rich_help_panel=_NETWORK,
    ),
]
Task = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the outputs mean: auto, classes, binary, multi-label or regression.",
        rich_help_panel=_NETWORK,
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda, ...; the CPU by default.", rich_help_panel=_NETWORK)
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Inputs per forward pass.", rich_help_panel=_NETWORK)]

Data = Annotated[Path, typer.Option("--data", metavar="PATH", help=_DATA_HELP, rich_help_panel=_DATA)]
OptionalData = Annotated[Path | None, typer.Option("--data", metavar="PATH", help=_DATA_HELP, rich_help_panel=_DATA)]
Split = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Part of the data, such as test; or all of it: all.", rich_help_panel=_DATA),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", help="Draw N inputs at random, stratified by class.", rich_help_panel=_DATA),
]
Size = Annotated[
    int | None, typer.Option(metavar="PIXELS", help="Height and width to resize to.", rich_help_panel=_DATA)
]
Channels = Annotated[
    int | None,
    typer.Option(metavar="1|3", help="Gray or colour; as the images are by default.", rich_help_panel=_DATA),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="For normalisation, of pixels in [0, 1]: one number per channel, such as 0.5,0.5,0.5.",
        rich_help_panel=_DATA,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="For normalisation: one number per channel.", rich_help_panel=_DATA),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="WHITE|BLACK,WHITE",
        help="Values that are white, or black and white, of images that are not made of bytes (16 bits, floats).",
        rich_help_panel=_DATA,
    ),
]
Transform = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="file.py:function, from a PIL image to a tensor; instead of size, mean and std.",
        rich_help_panel=_DATA,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...|FILE",
        help="Names of the classes, in the order of the model's outputs; or a file of them.",
        rich_help_panel=_DATA,
    ),
]
ClassesInOrder = Annotated[
    bool,
    typer.Option(
        "--classes-in-order",
        help="The classes of the data, sorted, are those of --classes, by other names.",
        rich_help_panel=_DATA,
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Leave unreadable images out, with a warning.", rich_help_panel=_DATA),
]

Layers = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Names, see 'neucept layers'; by default the last map and the last hidden vector.",
        rich_help_panel=_QUESTION,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS", help="By number or name; by default the class predicted most.", rich_help_panel=_QUESTION
    ),
]
Targets = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="A,B,...",
        help="Classes to audit, by number or name; all by default.",
        rich_help_panel=_QUESTION,
    ),
]
Precision = Annotated[
    float,
    typer.Option(
        metavar="P",
        help="Required share of critical neurons among those selected, between 0 and 1.",
        rich_help_panel=_QUESTION,
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="pairwise: each layer against the class; sequential: each against the next; global: against all later.",
        rich_help_panel=_QUESTION,
    ),
]
Response = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Score of the class to explain: logit, margin or log_prob.", rich_help_panel=_QUESTION
    ),
]
NoCalibration = Annotated[
    bool,
    typer.Option(
        "--no-calibration",
        help="Trust the knockoffs alone: faster, but the precision is then not checked on your layers.",
        rich_help_panel=_QUESTION,
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Order of the neurons: sufficient (the default where the network can be cut), robust, contribution,"
        " information or evidence.",
        rich_help_panel=_QUESTION,
    ),
]
Effect = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Select neurons that carry more than this share of the response's variance, such as 0.01.",
        rich_help_panel=_QUESTION,
    ),
]
Draws = Annotated[int, typer.Option(metavar="N", help="Number of knockoff draws.", rich_help_panel=_QUESTION)]

NMechanisms = Annotated[
    str, typer.Option("--mechanisms", metavar="K", help="Number of mechanisms, or auto.", rich_help_panel=_WAYS)
]
Reduce = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Space of the mechanisms: all (the default), contribution, posterior or metric, of all neurons; top,"
        " of the first of each layer; agglomerate, of the selected.",
        rich_help_panel=_WAYS,
    ),
]
Compactness = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Learn mechanisms from N principal components, or at most N neurons per layer with --reduce top.",
        rich_help_panel=_WAYS,
    ),
]

Stability = Annotated[
    int,
    typer.Option(
        metavar="N", help="Find each mechanism again on N halves of its inputs; 0 for none.", rich_help_panel=_WAYS
    ),
]

_RUN = "Run"
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Processes, one thread each; by default one per core.", rich_help_panel=_RUN),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Begin anew, and remove the run in the folder.", rich_help_panel=_RUN),
]
Pages = Annotated[
    int,
    typer.Option(metavar="N", help="Write pages for the N classes most worth looking at.", rich_help_panel=_RUN),
]
Folder = Annotated[Path, typer.Option("--out", metavar="PATH", help="Folder for results and pages.")]

Out = Annotated[Path, typer.Option(metavar="PATH", help="Folder to write to, or an .html file.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same result.")]
