"""An OpenClaw gateway's WebSocket: where it is, how it is spoken to, what it refuses."""
