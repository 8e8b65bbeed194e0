"""What well-known models cost, for those whose entry names no `price`.

The prices are those that the package `genai-prices` brings along: nothing is fetched. It is
imported only when a model on a public address has no `price`, since it takes some 30 ms and 6 MB
that a server of local models can do without.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chorus.config.models import PriceConfig

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_OWN_DOMAINS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


def known_price(model: str, api_base: str) -> PriceConfig | None:
    """Return what the provider at `api_base` asks for its `model`, in US dollars per million
    tokens.

    None where nobody knows, and on this machine and private networks, where nobody sends a bill.

    It is the list price of today: at the dearest hour where the time of day matters, and for
    prompts of common length where long ones cost more.
    """
    if is_private(api_base):
        return None
    return max(_priced(model, api_base.lower()), key=lambda price: price.input + price.output, default=None)


def is_private(api_base: str) -> bool:
    """Return whether an address is on this machine or on a network of one's own.

    True for an address without a host, too.
    """
    host = (urlsplit(api_base).hostname or "").rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a name; one without a dot is known to one's own resolver only
        return "." not in host or host.endswith(_OWN_DOMAINS)


def _priced(model: str, api_base: str) -> Iterator[PriceConfig]:
    """Yield the price at each hour of today; none where the model is unknown."""
    from genai_prices import Usage, calc_price

    now = datetime.now(UTC)
    for hour in range(24):
        try:
            price = calc_price(
                Usage(input_tokens=1, output_tokens=1),
                model,
                provider_api_url=api_base,
                genai_request_timestamp=now.replace(hour=hour, minute=0),
            ).model_price
        except LookupError:
            return
        if price.input_mtok is None and price.output_mtok is None:
            return  # it is paid by something other than tokens
        cached = _base(price.cache_read_mtok) if price.cache_read_mtok is not None else None
        written = _base(price.cache_write_mtok) if price.cache_write_mtok is not None else None
        yield PriceConfig(
            input=_base(price.input_mtok), output=_base(price.output_mtok), cached=cached, cache_write=written
        )


def _base(price: Decimal | TieredPrices | None) -> float:
    """Of prices that rise with the length of the prompt, the first."""
    if price is None:
        return 0.0
    return float(price if isinstance(price, Decimal) else price.base)
