"""When the network of this machine changes, told to whoever wants to know. No I/O of its own."""

from ._network import NetworkChange, watch

__all__ = ["NetworkChange", "watch"]
