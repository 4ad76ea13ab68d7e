"""What a tenant should have, as options: the same for `start` and `plan`."""

from __future__ import annotations

from typing import Annotated

import typer

Country = Annotated[
    str | None, typer.Option(metavar="CODE", help="ISO 3166-1 alpha-2 code. Default: KE.")
]
Currency = Annotated[
    str | None, typer.Option(metavar="CODE", help="ISO 4217 code. Default: the country's.")
]
Chart = Annotated[
    str | None, typer.Option(metavar="NAME", help="Chart of accounts. Default: Standard.")
]
DemoData = Annotated[
    bool | None, typer.Option("--demo-data/--no-demo-data", help="Make demo items. Default: no.")
]
PosStore = Annotated[
    bool | None,
    typer.Option("--pos-store/--no-pos-store", help="Make a warehouse for the shop. Default: yes."),
]
TillUser = Annotated[
    str | None,
    typer.Option(
        metavar="USER", help="ERPNext user who opens the till. Default: none, a person opens it."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Id of the engine. Default: the configured one."),
]
Payment = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Means of payment, the default one first; repeat for more. Default: Cash, M-Pesa.",
    ),
]
OpeningAmount = Annotated[
    float | None,
    typer.Option(metavar="AMOUNT", help="Cash in the till for each means of payment. Default: 0."),
]
