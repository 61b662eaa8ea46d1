"""The OTLP receiver: HTTP with protobuf or JSON, on loopback unless told otherwise."""

from clawtop.sources.otlp.address import OtlpAddress, parse_address
from clawtop.sources.otlp.source import OtlpSource

__all__ = ["OtlpAddress", "OtlpSource", "parse_address"]
