"""What OpenTelemetry senders tell: OTLP bodies -> records -> events. Pure, no I/O, no clock."""
