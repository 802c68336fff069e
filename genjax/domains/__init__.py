"""Kinds of data, by name: adding one is a file here and an entry in `DOMAINS`."""

from genjax.domains.audio import AUDIO
from genjax.domains.domain import Domain
from genjax.domains.image import IMAGE
from genjax.domains.points import POINTS
from genjax.domains.tokens import TOKENS
from genjax.domains.vectors import VECTORS
from genjax.errors import lookup

DOMAINS: dict[str, Domain] = {
    "image": IMAGE,
    "points": POINTS,
    "tokens": TOKENS,
    "audio": AUDIO,
    "vectors": VECTORS,
}


def domain_of(name: str) -> Domain:
    """The domain of that name; raises UserError with the choices for an unknown one."""
    return lookup(DOMAINS, name, "domain")
