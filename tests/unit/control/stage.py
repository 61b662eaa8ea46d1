"""A switch beside a pretended gateway, as tests need it."""

from collections.abc import Callable
from pathlib import Path

from clawtop.control.holds import HoldStore
from clawtop.control.switch import Switch, Ways
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.commands import Hold, Pause, Result, Resume, Target
from tests.fake_gateway import FakeGateway

CODER, MAIN = Target("local", "coder"), Target("local", "main")


def switch_to(
    gateway: FakeGateway | GatewayAddress | None,
    folder: Path,
    *,
    config_hold: bool = True,
    readonly: bool = False,
    on_change: Callable[[], None] = lambda: None,
) -> Switch:
    """A switch whose agents all run on this gateway."""
    address = gateway.address if isinstance(gateway, FakeGateway) else gateway
    ways = Ways(lambda _: address, config_hold=config_hold)
    return Switch(folder, ways, readonly=readonly, on_change=on_change)


async def pause(switch: Switch, *targets: Target) -> Result:
    """The first result of a pause, after its question was opened."""
    await switch.plan(targets or (CODER,))
    return (await switch.carry_out(Pause(targets or (CODER,), "too dear"))).results[0]


async def resume(switch: Switch, *targets: Target, force: bool = False, keep: bool = False) -> Result:
    """The first result of a resume."""
    return (await switch.carry_out(Resume(targets or (CODER,), force=force, keep=keep))).results[0]


def hold_of(result: Result) -> Hold:
    """The hold that a result speaks of."""
    assert result.hold is not None
    return result.hold


def on_disk(folder: Path) -> list[Target]:
    """The targets with a hold file."""
    return [target for target, _ in HoldStore(folder / "holds").all()]
