"""When the network of this machine changes: the public face of `_network`."""

from ._network import NetworkChange, watch

__all__ = ["NetworkChange", "watch"]
