"""A marketplace to test against: honest, careless or hostile, without a network.

    from databom.testing import MarketplaceSimulator

    market = MarketplaceSimulator(seed="my tests")
    first = market.publish({"cat.txt": b"a cat"})
    second = market.publish({"cat.txt": b"a better cat"})
    (folder / "trust.json").write_bytes(market.trust_root())
    market.write(first.documents(), folder)              # a rollback, if `second` was seen before

For authors of plugins and for marketplaces that test what their customers would notice. Everything follows from the
seed: the same calls give the same bytes in every process, with keys that are as worthless as the seed is public.

The simulator hands out documents; it asks nothing of databom's tasks, opens no file but those it is told to write,
and reads no clock.
"""

from databom.testing.simulator import MarketplaceSimulator, Release

__all__ = ["MarketplaceSimulator", "Release"]
