"""What plants bugs must itself not fail to."""

from __future__ import annotations

import pytest

from parley_server.testing.planting import plant


class _Part:
    first = "sound"
    second = "sound"


def test_attributes_are_replaced() -> None:
    """Planted: nothing is set."""

    class Part(_Part):
        pass

    plant(Part, first="broken", second="broken")
    assert (Part.first, Part.second) == ("broken", "broken")


def test_what_is_not_there_cannot_be_replaced_and_nothing_is() -> None:
    """A plant for a part that had moved was never met, and the search for it found it by luck only.

    Planted: the look whether it is there left out; done only as each is set.
    """

    class Part(_Part):
        pass

    with pytest.raises(AttributeError, match="third"):
        plant(Part, first="broken", third="broken")
    assert Part.first == "sound"
    assert not hasattr(Part, "third")
